//! Random numbers of the kernel. Owns nothing.

use rustix::rand::{GetRandomFlags, getrandom};

use super::clock;

/// A number that nobody outside can foresee; from the clock, should the kernel have none yet.
#[must_use]
pub fn seed() -> u64 {
    let mut bytes = [0; 8];
    match getrandom(&mut bytes, GetRandomFlags::NONBLOCK) {
        Ok(8) => u64::from_ne_bytes(bytes),
        _ => clock::wall_ns().wrapping_mul(0x9e37_79b9_7f4a_7c15),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn seeds_differ() {
        assert_ne!(super::seed(), super::seed());
    }
}
