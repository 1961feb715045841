//! A load generator that checks where requests land.
//!
//! For each client it asks `/where` for the owner, calls `/join`, and compares the two. So it needs to know nothing
//! of hosts, formulas or configurations. [`run`] makes the requests, and the [`Report`] has the result.

mod ask;
mod histogram;
mod host;
mod options;
mod outages;
mod render;
mod report;
mod run;
mod tally;

pub use options::{BaseUrl, Error, Options, Rate};
pub use report::{Failure, Misroute, Outage, Percentiles, Report};
pub use run::run;
pub use tally::Progress;
