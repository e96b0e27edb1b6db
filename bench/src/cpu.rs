//! The CPU time of a process and everything that it has started.

use std::collections::HashMap;
use std::fs;

/// Clock ticks per second, in `/proc`: 100 on every Linux.
const TICKS: f64 = 100.0;

/// One line of `/proc/PID/stat`.
struct Stat {
    pid: u32,
    parent: u32,
    /// Its own, and that of children that have ended and were waited for.
    ticks: u64,
}

/// The seconds that `root` and its descendants have used: user and system, those that have ended included.
pub(crate) fn seconds(root: u32) -> f64 {
    let mut children: HashMap<u32, Vec<Stat>> = HashMap::new();
    let mut ticks = 0;
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for stat in entries.filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?)) {
        if stat.pid == root {
            ticks += stat.ticks;
        }
        children.entry(stat.parent).or_default().push(stat);
    }
    let mut rest = vec![root];
    while let Some(pid) = rest.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            ticks += child.ticks;
            rest.push(child.pid);
        }
    }
    ticks as f64 / TICKS
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold spaces and brackets.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    // state, ppid, .., utime, stime, cutime, cstime: the fields 3, 4 and 14 to 17 of the line.
    let ticks = (11..=14).map(number).sum::<Option<u64>>()?;
    Some(Stat { pid, parent: u32::try_from(number(1)?).ok()?, ticks })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_child_that_has_ended_counts() {
        let before = seconds(std::process::id());
        let burnt = Command::new("sh").args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]).status();
        assert!(burnt.expect("a shell").success());
        assert!(seconds(std::process::id()) - before >= 0.02, "the loop takes a tenth of a second");
    }
}
