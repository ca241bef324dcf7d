//! Checking a password, which takes as long whatever it is checked against: a hash of today, a weaker one
//! of yesterday, or none at all. Otherwise the time would tell whether an address has an account, and
//! how old its password is.
//!
//! What takes long is filling memory, block by block. What a hash of less work leaves of today's work is
//! done besides, in the same memory. Parameters only ever rise: a hash of more work than today's would
//! take longer.

use std::hint::black_box;

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, PasswordHash, Salt},
};

use super::{LANES, MEMORY, PASSES};

/// What a block costs. The first pass looks up where its blocks refer to, which makes it dearer by one
/// part in this many.
const BLOCK: u64 = 128;

/// A hash that is stored, and how it was made.
struct Stored {
    hasher: Argon2<'static>,
    salt: Salt,
    output: Output,
}

impl Stored {
    fn read(hash: &str) -> Option<Self> {
        let parsed = PasswordHash::new(hash).ok()?;
        let algorithm = Algorithm::try_from(parsed.algorithm.as_str()).ok()?;
        let version = parsed.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
        let params = Params::try_from(&parsed).ok()?;
        let hasher = Argon2::new(algorithm, version, params);
        Some(Self { hasher, salt: parsed.salt?, output: parsed.hash? })
    }

    /// Whether this is its password. Outputs are compared in constant time.
    fn fits(&self, password: &str, memory: &mut [Block]) -> bool {
        let mut made = vec![0; self.output.len()];
        let salt: &[u8] = self.salt.as_ref();
        let made_it = self.hasher.hash_password_into_with_memory(
            password.as_bytes(),
            salt,
            &mut made,
            memory,
        );
        made_it.is_ok() && Output::new(&made).is_ok_and(|made| made == self.output)
    }
}

/// Whether this is the password of a hash. Without a hash, or with what is none, it is not.
#[must_use]
pub fn verify(password: &str, hash: Option<&str>) -> bool {
    let stored = hash.and_then(Stored::read);
    let params = stored.as_ref().map(|stored| stored.hasher.params());
    let blocks = params.map_or(0, Params::block_count).max(MEMORY as usize);
    let done = params.map_or(0, |params| work(params.m_cost(), params.t_cost()));
    let mut memory = vec![Block::new(); blocks];
    let right = stored.is_some_and(|stored| stored.fits(password, &mut memory));
    if let Some((kibibytes, passes)) = rest(done) {
        fill(password, kibibytes, passes, &mut memory);
    }
    right
}

/// What so much memory and so many passes cost.
fn work(memory: u32, passes: u32) -> u64 {
    u64::from(memory) * (u64::from(passes) * BLOCK + 1)
}

/// Memory and passes of what is left of today's work.
fn rest(done: u64) -> Option<(u32, u32)> {
    let left = work(MEMORY, PASSES).checked_sub(done)?;
    let in_passes = |passes: u32| left / (u64::from(passes) * BLOCK + 1);
    let passes = (1..=PASSES).find(|passes| in_passes(*passes) <= u64::from(MEMORY))?;
    let memory = u32::try_from(in_passes(passes)).ok()?;
    (memory >= Params::MIN_M_COST).then_some((memory, passes))
}

/// Work for nothing. It takes the end of the memory, so that all of it is used between the two.
fn fill(password: &str, kibibytes: u32, passes: u32, memory: &mut [Block]) {
    let from = memory.len().saturating_sub(kibibytes as usize);
    let mut made = [0; 32];
    let Ok(params) = Params::new(kibibytes, passes, LANES, None) else { return };
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let end = memory.get_mut(from..).unwrap_or_default();
    // Whether it worked is of no interest; that it is not left out is.
    let filled =
        hasher.hash_password_into_with_memory(password.as_bytes(), &[0; 16], &mut made, end);
    let _ = black_box((filled, made));
}

#[cfg(test)]
mod tests {
    use super::{super::hash_with, *};

    #[test]
    fn whatever_is_checked_costs_as_much() {
        let today = work(MEMORY, PASSES);
        assert_eq!(rest(0), Some((MEMORY, PASSES)), "where there is no hash it is all of it");
        assert_eq!(rest(today), None);
        assert_eq!(rest(today + 1), None, "more than today's");
        // Weaker ones of the past, and OWASP's other choices of the same strength.
        for (memory, passes) in
            [(8, 1), (4_096, 3), (8_192, 1), (7_168, 5), (9_216, 4), (12_288, 3), (19_456, 1)]
        {
            let done = work(memory, passes);
            let (more, times) = rest(done).unwrap();
            assert!(more <= MEMORY && times <= PASSES, "{memory}, {passes}: {more}, {times}");
            let off = today - done - work(more, times);
            assert!(off * 1_000 < today, "{memory}, {passes}: off by {off} of {today}");
        }
    }

    #[test]
    fn it_is_right_whatever_the_parameters_are() {
        for (memory, passes) in [(8, 1), (8_192, 1), (9_216, 4), (MEMORY, PASSES), (32_768, 1)] {
            let made = hash_with(memory, passes, "correct horse", [7; 16]).unwrap();
            assert!(verify("correct horse", Some(&made)), "{made}");
            assert!(!verify("correct horsf", Some(&made)), "{made}");
            assert!(!verify("correct horse", Some(&made[..made.len() - 2])), "{made}");
        }
        for nothing in [None, Some(""), Some("not a hash"), Some("$argon2id$v=19$m=8,t=1,p=1")] {
            assert!(!verify("correct horse", nothing), "{nothing:?}");
        }
    }
}
