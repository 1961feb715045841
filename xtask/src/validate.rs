//! The check of the configurations in `envoy/`.

use anyhow::{Result, ensure};
use pinroute_testkit::config::Shipped;
use pinroute_testkit::env::for_validation;
use pinroute_testkit::envoy::validate;

/// Checks every shipped configuration, also after one has failed.
pub fn validate_all() -> Result<()> {
    let names = Shipped::list()?;
    ensure!(!names.is_empty(), "there is no configuration in envoy/");
    let mut bad = 0;
    for name in &names {
        match for_validation(name).and_then(|shipped| validate(shipped.value())) {
            Ok(()) => println!("envoy/{name}: ok"),
            Err(error) => {
                bad += 1;
                println!("envoy/{name}: {error:#}");
            }
        }
    }
    ensure!(bad == 0, "{bad} of {} configurations are bad", names.len());
    Ok(())
}
