//! The process's one source of randomness. Rules that need some take it as a parameter and get it
//! from here, so that tests can choose it.

/// A number in 0..1, for jitter.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where randomness is handed out")]
pub fn dice() -> f64 {
    rand::random()
}

/// 32 bytes for a secret, from the thread's cryptographic generator.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where randomness is handed out")]
pub fn secret() -> [u8; 32] {
    rand::random()
}
