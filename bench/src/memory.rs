//! The memory of a process.

use std::fs;

/// The most that a process ever had resident, in MiB.
pub(crate) fn peak(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_let_go_of_still_counts() {
        let before = peak(std::process::id()).expect("a process has memory");
        drop(std::hint::black_box(vec![1_u8; 64 << 20]));
        assert!(peak(std::process::id()).expect("the same") >= before.max(64.0));
    }
}
