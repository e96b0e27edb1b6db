//! Small things, each by itself: encoding an event, and compiling a crate with many derives.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime};

use outbox::Event;

use crate::business::OrderPlaced;
use crate::figure::Figure;
use crate::report::Report;
use crate::size::Size;
use crate::tally::Tally;
use crate::{Result, allocations, cpu};

pub(crate) fn measure(size: &Size, report: &mut Report) -> Result<()> {
    eprintln!("micro");
    let (mut ns, mut allocated) = (Tally::default(), Tally::default());
    for _ in 0..size.rounds {
        encode(size.encoded, &mut ns, &mut allocated)?;
    }
    report.add(Figure::new("micro/encode one event", &ns, "ns"));
    report.add(Figure::new("micro/encode one event/allocations", &allocated, "per event"));
    let mut ms = Tally::default();
    for _ in 0..size.rounds {
        let (none, some) = (compile(0)?, compile(size.derives)?);
        ms.push((some - none) / size.derives as f64 * 1e3);
    }
    report.add(Figure::new(format!("micro/compile one derive, of {}", size.derives), &ms, "ms of CPU"));
    Ok(())
}

fn encode(count: u64, ns: &mut Tally, allocated: &mut Tally) -> Result<()> {
    let log = OrderPlaced::new(1_234_567, 89);
    let (before, started) = (allocations::count(), Instant::now());
    for _ in 0..count {
        std::hint::black_box(Event::from_log(std::hint::black_box(&log), "bench")?);
    }
    ns.push(started.elapsed().as_secs_f64() * 1e9 / count as f64);
    allocated.push((allocations::count() - before) as f64 / count as f64);
    Ok(())
}

/// CPU seconds of the compiler for a crate with so many derived events.
fn compile(derives: usize) -> Result<f64> {
    let dir = tempfile::tempdir()?;
    let source = dir.path().join("lib.rs");
    let event = |no| {
        format!(
            "#[derive(outbox::EventLog)]\npub struct Event{no} {{ pub id: i64, pub email: String, pub note: Option<String>, pub at: Vec<u8> }}\n"
        )
    };
    std::fs::write(&source, (0..derives).map(event).collect::<String>())?;
    let deps = std::env::current_exe()?.with_file_name("deps");
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "--cap-lints", "allow", "--out-dir"]);
    rustc.arg(dir.path()).arg(format!("-Ldependency={}", deps.display()));
    rustc.arg(format!("--extern=outbox={}", newest(&deps)?.display())).arg(&source);
    let before = cpu::seconds(std::process::id());
    let output = rustc.output()?;
    match output.status.success() {
        true => Ok(cpu::seconds(std::process::id()) - before),
        false => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}

/// The library that this program was linked with: the one that was built last.
fn newest(deps: &Path) -> Result<PathBuf> {
    let mut found: Option<(SystemTime, PathBuf)> = None;
    for entry in std::fs::read_dir(deps)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("liboutbox-") && name.ends_with(".rlib") {
            let built = entry.metadata()?.modified()?;
            if found.as_ref().is_none_or(|(newest, _)| built > *newest) {
                found = Some((built, entry.path()));
            }
        }
    }
    found.map(|(_, path)| path).ok_or_else(|| format!("no liboutbox in {}", deps.display()).into())
}
