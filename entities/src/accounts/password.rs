//! Passwords: which are taken, and how they are hashed (Argon2id).
//!
//! Hashing is slow on purpose: whoever calls [`hash`] or [`verify`] does it off the runtime's
//! threads, and bounds how many run at the same time. The parameters are those of OWASP's
//! password storage cheat sheet; a hash with lower ones is made anew at the next sign-in. `verify` checks a password in the same time whatever
//! its hash is.

mod verify;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, phc::PasswordHash},
};

pub use verify::verify;

/// Kibibytes of memory.
const MEMORY: u32 = 19_456;
/// Passes over it.
const PASSES: u32 = 2;
/// Lanes.
const LANES: u32 = 1;

/// The shortest and the longest password, in characters.
pub const LENGTH: std::ops::RangeInclusive<usize> = 8..=200;

/// Passwords that guessers try first, those below eight characters aside.
const COMMON: &[&str] = &[
    "12345678",
    "123456789",
    "1234567890",
    "11111111",
    "00000000",
    "88888888",
    "87654321",
    "123123123",
    "147258369",
    "987654321",
    "password",
    "password1",
    "password12",
    "password123",
    "passw0rd",
    "p@ssw0rd",
    "p@ssword",
    "qwertyui",
    "qwertyuiop",
    "qwerty12",
    "qwerty123",
    "1q2w3e4r",
    "1q2w3e4r5t",
    "1qaz2wsx",
    "q1w2e3r4",
    "zaq12wsx",
    "asdfghjk",
    "asdfghjkl",
    "zxcvbnm1",
    "abcdefgh",
    "abcd1234",
    "abc12345",
    "a1b2c3d4",
    "iloveyou",
    "iloveyou1",
    "sunshine",
    "princess",
    "football",
    "baseball",
    "superman",
    "trustno1",
    "welcome1",
    "letmein1",
    "admin123",
    "administrator",
    "changeme",
    "master123",
    "dragon12",
    "michelle",
    "jennifer",
    "computer",
    "internet",
    "whatever",
    "starwars",
    "secret12",
    "test1234",
    "tiktomato",
    "tomato123",
];

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPassword {
    /// Too short or too long.
    #[error("must have {} to {} characters", LENGTH.start(), LENGTH.end())]
    Length,
    /// Everybody tries it.
    #[error("is one of the most common passwords; choose another one")]
    Common,
}

/// Whether a password is taken. There are no rules about kinds of characters: they make passwords
/// worse.
///
/// # Errors
/// See [`BadPassword`].
pub fn check(password: &str) -> Result<(), BadPassword> {
    if !LENGTH.contains(&password.chars().count()) {
        return Err(BadPassword::Length);
    }
    let plain = password.to_lowercase();
    let mut distinct: Vec<char> = plain.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < 3 || COMMON.contains(&plain.as_str()) {
        return Err(BadPassword::Common);
    }
    Ok(())
}

/// Hashes a password with this salt.
///
/// # Errors
/// Never for the parameters of this file; told as the library tells it.
pub fn hash(password: &str, salt: [u8; 16]) -> Result<String, argon2::password_hash::Error> {
    hash_with(MEMORY, PASSES, password, salt)
}

fn hash_with(
    memory: u32,
    passes: u32,
    password: &str,
    salt: [u8; 16],
) -> Result<String, argon2::password_hash::Error> {
    let params = Params::new(memory, passes, LANES, None)?;
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash: PasswordHash = hasher.hash_password_with_salt(password.as_bytes(), &salt)?;
    Ok(hash.to_string())
}

/// Whether a hash was made with lower parameters than those of today.
#[must_use]
pub fn is_outdated(hash: &str) -> bool {
    let Ok(parsed) = PasswordHash::new(hash) else { return true };
    let Ok(params) = Params::try_from(&parsed) else { return true };
    parsed.algorithm.as_str() != "argon2id"
        || params.m_cost() < MEMORY
        || params.t_cost() < PASSES
        || params.p_cost() < LANES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_hash_and_no_other_does() {
        let made = hash("correct horse", [7; 16]).unwrap();
        assert!(made.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{made}");
        assert!(verify("correct horse", Some(&made)));
        assert!(!verify("correct horsf", Some(&made)));
        assert!(!verify("", Some(&made)));
        assert_ne!(made, hash("correct horse", [8; 16]).unwrap());
        assert!(!is_outdated(&made));
    }

    #[test]
    fn a_weaker_hash_is_outdated_and_still_fits() {
        let weak = hash_with(8_192, 1, "correct horse", [7; 16]).unwrap();
        assert!(verify("correct horse", Some(&weak)));
        assert!(is_outdated(&weak));
        assert!(is_outdated("nonsense"));
    }

    #[test]
    fn short_long_and_common_ones_are_not_taken() {
        assert_eq!(check("1234567"), Err(BadPassword::Length));
        assert_eq!(check(&"ab1".repeat(67)), Err(BadPassword::Length));
        for common in ["PassWord", "aaaaaaaaaa", "12345678", "abababababab"] {
            assert_eq!(check(common), Err(BadPassword::Common), "{common}");
        }
        for good in
            ["correct horse", "gr\u{fc}\u{df}e aus k\u{f6}ln", "8 chars!", &"xy1z".repeat(50)]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }
}
