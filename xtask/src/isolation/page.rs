//! The page: tables of the measurements beside the theory.

use pinroute_report::{grouped, table};

use super::measure::{CUSTOMERS, Compared, Fleet, GROUPS, MOVERS};
use super::theory;

/// The numbers of bad customers in the table; the plot has all of them.
const BAD: [usize; 5] = [1, 2, 4, 8, 16];

/// `docs/isolation.md`.
pub fn page(fleets: &[Compared]) -> String {
    let [customers, movers, groups] = [CUSTOMERS, MOVERS, GROUPS].map(|count| grouped(count as u64));
    format!(
        "\
# Isolation, measured

*This page and its plots are generated: `cargo xtask isolation`. Do not edit them.*

Shuffle sharding gives each customer `k` of `N` hosts. A customer who takes these hosts down harms the others
only as far as they share hosts. So the fewer customers have the same hosts, the better. Here both algorithms
are measured, `rendezvous` (the default) and `lua_djb2` (for those who come from the Lua filters). *Chance* is
what theory says of shards drawn at random, each of the C(N,k) possible ones equally likely.

The customers are `customer-0`, `customer-1` and so on, and there is no seed. The tests of these promises, over
more families of keys and with exact bounds, are in `crates/core/tests/shuffle_promises`.

## How many different shards there are

Among {customers} customers. *Chance* is how many of the possible shards so many random draws hit.

{distinct}
`lua_djb2` gives each customer a run of neighbouring hosts, and there are only `N` of these. From the eleventh
host on, a customer's hosts are a second run, because the Lua filters number a customer's hosts in decimal.

## What two customers have in common

The mean number of shared hosts is k²/N whatever the algorithm, if only the load is even. What counts is how
often two customers share **all** hosts. The customers are paired at random.

{overlap}
## Who moves when a host is added

The share of {movers} customers who have other hosts after one was added. In theory k/(N+1) of them get the new
host, and nobody else moves.

{moved}
![The share of customers who move, over the number of hosts](isolation-moved.svg)

## How many bad customers it takes to reach everything you have

The probability that `m` bad customers together cover all hosts of another customer, over {groups} random
groups; the standard error is at most 0.0035. In theory it is Σⱼ (−1)ʲ · C(k,j) · [C(N−j,k) / C(N,k)]ᵐ for j from 0 to k.

{cover}
![The probability that bad customers cover a shard, over their number](isolation-cover.svg)

## What failover inside the shard saves

The share of another customer's requests that fail while `m` bad customers keep all their hosts down. Without
failover it is the share of the customer's hosts that are down, in theory 1 − (1 − k/N)ᵐ. With
[failover inside the shard](failover.md), requests fail only if all hosts of the shard are down, which is the table
above. Both take for granted that hosts that are down keep their places in the shards, as
[numbered hosts](failover.md#identity) do.

{failover}",

        distinct = distinct(fleets),
        overlap = overlap(fleets),
        moved = moved(fleets),
        cover = cover(fleets),
        failover = failover(fleets),
    )
}

fn distinct(fleets: &[Compared]) -> String {
    let rows = fleets.iter().map(|Compared { fleet: Fleet { hosts, size }, rendezvous, lua }| {
        let possible = theory::choose(*hosts, *size);
        let chance = possible * (1.0 - (1.0 - 1.0 / possible).powi(CUSTOMERS as i32));
        let counts = [possible, chance, rendezvous.distinct as f64, lua.distinct as f64];
        cells([hosts.to_string(), size.to_string()], counts.map(rounded))
    });
    table(&["N", "k", "possible, C(N,k)", "chance", "`rendezvous`", "`lua_djb2`"], rows)
}

fn overlap(fleets: &[Compared]) -> String {
    let rows = fleets.iter().flat_map(|Compared { fleet: Fleet { hosts, size }, rendezvous, lua }| {
        let chance = |shared| theory::overlap(*hosts, *size, shared);
        let mean = theory::mean_overlap(*hosts, *size);
        [
            ("share so many hosts on average", [mean, rendezvous.mean_overlap, lua.mean_overlap]),
            ("share no host", [chance(0), rendezvous.disjoint, lua.disjoint]),
            ("share all hosts", [chance(*size), rendezvous.identical, lua.identical]),
        ]
        .map(|(what, values)| {
            cells([hosts.to_string(), size.to_string(), what.to_owned()], values.map(probability))
        })
    });
    table(&["N", "k", "two customers", "chance", "`rendezvous`", "`lua_djb2`"], rows)
}

fn moved(fleets: &[Compared]) -> String {
    let rows = fleets.iter().map(|Compared { fleet: Fleet { hosts, size }, rendezvous, lua }| {
        let shares = [theory::moved(*hosts, *size), rendezvous.moved, lua.moved];
        cells([format!("{hosts} → {}", hosts + 1), size.to_string()], shares.map(percent))
    });
    table(&["N", "k", "theory, k/(N+1)", "`rendezvous`", "`lua_djb2`"], rows)
}

fn cover(fleets: &[Compared]) -> String {
    let rows = beside_bad_customers(fleets, |Compared { fleet, rendezvous, lua }, bad| {
        let theory = theory::cover(fleet.hosts, fleet.size, bad as i32);
        [theory, at(&rendezvous.covered, bad), at(&lua.covered, bad)].map(probability)
    });
    table(&["N", "k", "m", "theory", "`rendezvous`", "`lua_djb2`"], rows)
}

fn failover(fleets: &[Compared]) -> String {
    let rows = beside_bad_customers(fleets, |Compared { fleet, rendezvous, lua }, bad| {
        let without = theory::held(fleet.hosts, fleet.size, bad as i32);
        let with = theory::cover(fleet.hosts, fleet.size, bad as i32);
        let [rendezvous, lua] =
            [rendezvous, lua].map(|measured| (at(&measured.held, bad), at(&measured.covered, bad)));
        [without, with, rendezvous.0, rendezvous.1, lua.0, lua.1].map(percent)
    });
    let columns = ["N", "k", "m", "theory", "with failover"];
    let measured = ["`rendezvous`", "with failover", "`lua_djb2`", "with failover"];
    table(&[&columns[..], &measured].concat(), rows)
}

/// A row for each fleet and number of bad customers.
fn beside_bad_customers<'a, const N: usize>(
    fleets: &'a [Compared],
    values: impl Fn(&'a Compared, usize) -> [String; N],
) -> impl Iterator<Item = Vec<String>> {
    let names = |Fleet { hosts, size }, bad: usize| [hosts.to_string(), size.to_string(), bad.to_string()];
    let pairs = fleets.iter().flat_map(|compared| BAD.map(|bad| (compared, bad)));
    pairs.map(move |(compared, bad)| cells(names(compared.fleet, bad), values(compared, bad)))
}

/// What was measured with that number of bad customers.
fn at(measured: &[f64], bad: usize) -> f64 {
    measured.get(bad - 1).copied().unwrap_or(f64::NAN)
}

fn cells<const M: usize, const N: usize>(names: [String; M], values: [String; N]) -> Vec<String> {
    names.into_iter().chain(values).collect()
}

fn probability(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if value < 1e-3 {
        format!("{value:.2e}")
    } else {
        format!("{value:.4}")
    }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// A count, which theory may give as a fraction, as a whole number with commas.
fn rounded(number: f64) -> String {
    grouped(number.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([7.0, 999.6, 4845.0].map(rounded), ["7", "1,000", "4,845"]);
        assert_eq!([0.0, 4.4295e-9, 0.11431, 1.0].map(probability), ["0", "4.43e-9", "0.1143", "1.0000"]);
        assert_eq!(percent(0.190_476), "19.05 %");
    }
}
