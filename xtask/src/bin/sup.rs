//! `sup [--signal NAME] -- COMMAND...`: runs a server that lives as long as `sup`'s standard input.
//!
//! At the end of standard input, which also comes when the parent is killed, the server gets the signal (TERM unless
//! named) and is reaped. When the server ends by itself, so does `sup`, with its code. As root the server runs as `nobody`.

use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{self, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

const NOBODY: u32 = 65_534;
/// How long the server may take to follow the signal before it is killed.
const GRACE: Duration = Duration::from_secs(20);

enum Event {
    InputEnded,
    ServerEnded,
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut signal = libc::SIGTERM;
    if args.first().is_some_and(|arg| arg == "--signal") && args.len() > 1 {
        signal = match args[1].as_str() {
            "INT" => libc::SIGINT,
            "TERM" => libc::SIGTERM,
            "QUIT" => libc::SIGQUIT,
            "KILL" => libc::SIGKILL,
            _ => usage(),
        };
        args.drain(..2);
    }
    if args.first().is_some_and(|arg| arg == "--") {
        args.remove(0);
    }
    if args.is_empty() {
        usage();
    }
    match supervise(&args, signal) {
        Ok(code) => process::exit(code),
        Err(e) => {
            eprintln!("sup: {}: {e}", args[0]);
            process::exit(1);
        }
    }
}

fn usage() -> ! {
    eprintln!("usage: sup [--signal INT|TERM|QUIT|KILL] -- COMMAND...");
    process::exit(2);
}

fn supervise(command: &[String], signal: i32) -> io::Result<i32> {
    // Away from the terminal's process group: ^C is for the parent, which then stops its servers in its own order.
    // SAFETY: no arguments. It fails only where this process leads a group already, which is as good.
    unsafe { libc::setsid() };
    let mut server = Command::new(&command[0]);
    server.args(&command[1..]).stdin(Stdio::null());
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } == 0 {
        server.uid(NOBODY).gid(NOBODY);
    }
    let mut server = server.spawn()?;
    let pid = server.id() as libc::pid_t;

    let (events, event) = mpsc::channel();
    let ended = events.clone();
    thread::spawn(move || {
        wait_without_reaping(pid);
        let _ = ended.send(Event::ServerEnded);
    });
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        let mut buffer = [0; 256];
        while !matches!(input.read(&mut buffer), Ok(0) | Err(_)) {}
        let _ = events.send(Event::InputEnded);
    });

    if matches!(event.recv(), Ok(Event::InputEnded)) {
        // SAFETY: `pid` is ours until it is reaped, which is below.
        unsafe { libc::kill(pid, signal) };
        if let Err(RecvTimeoutError::Timeout) = event.recv_timeout(GRACE) {
            server.kill()?;
        }
    }
    let status = server.wait()?;
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
}

/// Returns when the process has ended, and leaves it a zombie: its number stays ours, so no signal can go astray.
fn wait_without_reaping(pid: libc::pid_t) {
    loop {
        // SAFETY: a siginfo_t may be all zeros; the pointer is valid for the call.
        let waited = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(libc::P_PID, pid as libc::id_t, &mut info, libc::WEXITED | libc::WNOWAIT)
        };
        if waited == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}
