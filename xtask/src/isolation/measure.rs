//! The measurements, over customers `customer-0`, `customer-1` and so on.

use std::collections::HashSet;

use pinroute_core::shard::{Algorithm, Assigner, Hosts, Scratch};

/// The most bad customers that are tried at once.
pub const MOST_BAD: usize = 16;

/// Groups of one customer and the bad ones. Nobody is in two groups, so they are independent trials.
pub const GROUPS: usize = 20_000;
pub const CUSTOMERS: usize = GROUPS * (MOST_BAD + 1);

/// Hosts per customer in the plot of moves.
pub const GROWING_SIZE: u32 = 4;

/// How many customers a host more is tried on.
pub const MOVERS: usize = 20_000;

/// A set of hosts, one bit each; fleets here have at most 64.
type Set = u64;

/// How many hosts there are, and how many of them a customer gets.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    pub hosts: u32,
    pub size: u32,
}

/// A fleet under both algorithms.
pub struct Compared {
    pub fleet: Fleet,
    pub rendezvous: Measured,
    pub lua: Measured,
}

/// What was measured for an algorithm and a fleet. Shares are between 0 and 1.
pub struct Measured {
    /// How many different shards all customers have.
    pub distinct: usize,
    /// The mean number of hosts that two customers share.
    pub mean_overlap: f64,
    /// The share of pairs of customers without a common host.
    pub disjoint: f64,
    /// The share of pairs of customers with the same shard.
    pub identical: f64,
    /// The share of customers whose shard one host more changes.
    pub moved: f64,
    /// The share of customers whose shard 1, 2, … bad customers cover.
    pub covered: Vec<f64>,
    /// The mean share of a customer's hosts that 1, 2, … bad customers hold.
    pub held: Vec<f64>,
}

impl Measured {
    pub fn of(algorithm: Algorithm, fleet: Fleet) -> Self {
        let mut shards = shards(algorithm, fleet, CUSTOMERS);
        let distinct = shards.iter().collect::<HashSet<_>>().len();
        shuffle(&mut shards);
        let overlaps: Vec<u32> = shards
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(Set::MAX, |common, shard| common & shard).count_ones())
            .collect();
        let pairs = |condition: fn(u32, Fleet) -> bool| {
            share(overlaps.iter().filter(|shared| condition(**shared, fleet)).count(), overlaps.len())
        };
        let (covered, held) = beside_bad_customers(&shards, fleet);
        Self {
            distinct,
            mean_overlap: f64::from(overlaps.iter().sum::<u32>()) / overlaps.len() as f64,
            disjoint: pairs(|shared, _| shared == 0),
            identical: pairs(|shared, fleet| shared == fleet.size),
            moved: moved(algorithm, fleet),
            covered,
            held,
        }
    }
}

/// The share of customers who have other hosts after one was added.
pub fn moved(algorithm: Algorithm, fleet: Fleet) -> f64 {
    let before = shards(algorithm, fleet, MOVERS);
    let after = shards(algorithm, Fleet { hosts: fleet.hosts + 1, ..fleet }, MOVERS);
    share(before.iter().zip(&after).filter(|(before, after)| before != after).count(), MOVERS)
}

fn shards(algorithm: Algorithm, fleet: Fleet, customers: usize) -> Vec<Set> {
    let (assigner, mut scratch) = (Assigner::new(algorithm, &Hosts::Numbered, None), Scratch::default());
    let mut shard = Vec::new();
    (0..customers)
        .map(|number| {
            assigner.assign(
                format!("customer-{number}").as_bytes(),
                fleet.hosts,
                fleet.size,
                &mut scratch,
                &mut shard,
            );
            shard.iter().fold(0, |set, host| set | 1 << host)
        })
        .collect()
}

/// [`Measured::covered`] and [`Measured::held`]. The first of each group is the customer, the others are bad.
fn beside_bad_customers(shards: &[Set], fleet: Fleet) -> (Vec<f64>, Vec<f64>) {
    let (mut covered, mut held) = ([0; MOST_BAD], [0; MOST_BAD]);
    for group in shards.chunks_exact(MOST_BAD + 1) {
        let [mine, bad @ ..] = group else { continue };
        let mut spared = *mine;
        for ((covered, held), shard) in covered.iter_mut().zip(&mut held).zip(bad) {
            spared &= !shard;
            *covered += usize::from(spared == 0);
            *held += (fleet.size - spared.count_ones()) as usize;
        }
    }
    let shares = |counts: [usize; MOST_BAD], whole| counts.map(|count| share(count, whole)).to_vec();
    (shares(covered, GROUPS), shares(held, GROUPS * fleet.size as usize))
}

/// The same random order each time (Fisher and Yates, with xorshift64*), so that who is grouped with whom
/// has nothing to do with their numbers.
fn shuffle(shards: &mut [Set]) {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    for last in (1..shards.len()).rev() {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let random = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        shards.swap(last, (random % (last as u64 + 1)) as usize);
    }
}

fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}
