//! What fuzzing does for minutes, in a second and always the same: the corpus of each target, and
//! changes of it.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::{Property, TARGETS};

/// Changes tried of each corpus.
const ROUNDS: u32 = 5000;

/// xorshift64*.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap() % limit
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn try_one(property: Property, data: &[u8], what: &str) {
    if catch_unwind(AssertUnwindSafe(|| property(data))).is_err() {
        panic!("broken by {what}: b\"{}\"", data.escape_ascii());
    }
}

/// One input made of two: a part is taken out, put in, doubled or changed.
fn change(dice: &mut Dice, data: &[u8], other: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(data.len() + 1);
        let end = at + dice.below(data.len() - at + 1).min(dice.below(32) + 1);
        match dice.below(6) {
            0 => drop(data.drain(at..end)),
            1 => data.insert(at, b"\n\0\"\\{}[],:0-\xff\xed\xc3 \tu1eE"[dice.below(21)]),
            2 => {
                let from = dice.below(other.len() + 1);
                let to = from + dice.below(other.len() - from + 1);
                drop(data.splice(at..at, other[from..to].iter().copied()));
            }
            3 => drop(data.splice(at..at, data[at..end].to_vec())),
            4 if at < data.len() => data[at] ^= 1 << dice.below(8),
            _ => data.truncate(end),
        }
    }
    data
}

#[test]
fn the_corpus_breaks_no_promise() {
    for (target, property) in TARGETS {
        for data in corpus(target) {
            try_one(property, &data, target);
        }
        try_one(property, &[], target);
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes hours there")]
fn changes_of_the_corpus_break_no_promise() {
    for (target, property) in TARGETS {
        let inputs = corpus(target);
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
        for _ in 0..ROUNDS {
            let one = &inputs[dice.below(inputs.len())];
            let other = &inputs[dice.below(inputs.len())];
            try_one(property, &change(&mut dice, one, other), target);
        }
    }
}
