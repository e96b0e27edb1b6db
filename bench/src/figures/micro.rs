//! Small things, each by itself: encoding an event, and compiling a crate with many derives or attributes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime};

use outbox::Event;

use crate::business::OrderPlaced;
use crate::figure::Figure;
use crate::report::Report;
use crate::roles::Role;
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
    if let Some(instructions) = instructions(size.encoded / 100)? {
        report.add(Figure::new("micro/encode one event/instructions", &instructions, "per event"));
    }
    for (what, source) in [("derive", DERIVE), ("async attribute", ATTRIBUTE)] {
        let mut ms = Tally::default();
        for _ in 0..size.rounds {
            let (none, some) = (compile(source, 0)?, compile(source, size.derives)?);
            ms.push((some - none) / size.derives as f64 * 1e3);
        }
        report.add(Figure::new(format!("micro/compile one {what}, of {}", size.derives), &ms, "ms of CPU"));
    }
    Ok(())
}

/// Encodes so many events, for whoever counts what that takes.
pub(crate) fn encode_events(count: u64) -> Result<()> {
    let log = OrderPlaced::new(1_234_567, 89);
    for _ in 0..count {
        std::hint::black_box(Event::from_log(std::hint::black_box(&log), "bench")?);
    }
    Ok(())
}

/// Instructions per event, as valgrind counts them: steadier than time. None where there is no valgrind.
fn instructions(count: u64) -> Result<Option<Tally>> {
    let run = |events: u64| -> Result<Option<f64>> {
        let role = serde_json::to_string(&Role::Encode { events })?;
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(std::env::current_exe()?);
        let Ok(output) = valgrind.args(["--role", &role]).stdin(Stdio::null()).output() else { return Ok(None) };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let collected = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
        collected.map(Some).ok_or_else(|| said.into())
    };
    let (Some(none), Some(some)) = (run(0)?, run(count)?) else { return Ok(None) };
    Ok(Some([(some - none) / count as f64].into_iter().collect()))
}

fn encode(count: u64, ns: &mut Tally, allocated: &mut Tally) -> Result<()> {
    let (before, started) = (allocations::count(), Instant::now());
    encode_events(count)?;
    ns.push(started.elapsed().as_secs_f64() * 1e9 / count as f64);
    allocated.push((allocations::count() - before) as f64 / count as f64);
    Ok(())
}

/// An event with what events have.
const DERIVE: &str = "#[derive(outbox::EventLog)]\npub struct Event{no} { pub id: i64, pub email: String, pub note: Option<String>, pub at: Vec<u8> }\n";

/// A function that writes for any connection.
const ATTRIBUTE: &str = "#[outbox::transactional_event]\npub async fn service{no}<C: outbox::aio::Emit>(conn: &mut C, id: i64) -> Result<i64, Failed> {\n\
    let _ = conn;\n    Ok(id)\n}\n";

const FAILED: &str = "pub struct Failed;\nimpl<E: std::error::Error> From<E> for Failed {\n    fn from(_: E) -> Self {\n        Self\n    }\n}\n";

/// CPU seconds of the compiler for a crate with so many times this.
fn compile(one: &str, times: usize) -> Result<f64> {
    let dir = tempfile::tempdir()?;
    let source = dir.path().join("lib.rs");
    let text = (0..times).map(|no| one.replace("{no}", &no.to_string()));
    std::fs::write(&source, std::iter::once(FAILED.to_owned()).chain(text).collect::<String>())?;
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
