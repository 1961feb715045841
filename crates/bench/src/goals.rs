//! The goals for the figures.

use crate::figure::Figure;
use crate::growth::Plot;
use crate::peers::{Measured, ratio};
use anyhow::{Context, Result};
use serde::Serialize;

/// A ratio and its limit.
#[derive(Debug, Serialize)]
pub struct Goal {
    /// What is compared.
    pub what: &'static str,
    /// The most that the median may be.
    pub most: f64,
    /// The ratio.
    pub ratio: Figure,
    /// Whether it is met.
    pub met: bool,
}

/// What, of which chain, to which chain, and the limit.
const RATIOS: [(&str, &str, &str, f64); 16] = [
    ("resolve, cached / Lua resolve", "resolve-warm", "lua-resolve", 0.17),
    ("resolve, every key new / Lua resolve", "resolve-new", "lua-resolve-new", 1.0),
    ("index / Lua with the same FNV-1a", "index", "lua-index", 0.8),
    ("shuffle lua_djb2 / Lua shuffle, same headers", "djb2", "lua-shuffle", 0.8),
    ("shuffle rendezvous / Lua shuffle, same headers", "rendezvous", "lua-shuffle", 0.8),
    ("resolve, cached / empty Wasm filter", "resolve-warm", "wasm-empty", 1.8),
    ("index / empty Wasm filter", "index", "wasm-empty", 1.8),
    ("shuffle lua_djb2, no response headers / empty Wasm filter", "djb2-request", "wasm-empty", 1.8),
    ("shuffle rendezvous, no response headers / empty Wasm filter", "rendezvous-request", "wasm-empty", 1.8),
    ("shuffle rendezvous, response headers / empty Wasm filter", "rendezvous", "wasm-empty", 1.8),
    ("native resolve, cached / Lua resolve", "native-resolve-warm", "lua-resolve", 0.1),
    ("native resolve, every key new / Lua resolve", "native-resolve-new", "lua-resolve-new", 0.85),
    ("native index / Lua resolve", "native-index", "lua-resolve", 0.1),
    ("native template / Lua resolve", "native-template", "lua-resolve", 0.1),
    ("native shuffle lua_djb2 / Lua shuffle, same headers", "native-djb2", "lua-shuffle", 0.5),
    ("native shuffle rendezvous / Lua shuffle, same headers", "native-rendezvous", "lua-shuffle", 0.5),
];

/// All goals.
pub fn goals(peers: &[Measured], plots: &[Plot]) -> Result<Vec<Goal>> {
    let goal = |what, most, ratio: Figure| Goal { what, most, ratio, met: ratio.median <= most };
    let mut goals = Vec::new();
    for (what, of, to, most) in RATIOS {
        goals.push(goal(what, most, ratio(peers, of, to)?));
    }
    let overrides = plots.iter().find(|plot| plot.name == "overrides").context("no plot over overrides")?;
    let cost = |point: Option<&crate::growth::Point>| point?.above_us_by_round.first().cloned();
    let (none, most) = (cost(overrides.points.first()), cost(overrides.points.last()));
    let ratio = Figure::ratio(&most.context("no overrides")?, &none.context("no overrides")?);
    goals.push(goal("with 100,000 overrides / with none", 1.05, ratio));
    Ok(goals)
}
