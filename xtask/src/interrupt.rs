//! ^C, SIGTERM and SIGHUP: the work in hand breaks off, and everything is stopped in order.

use std::io::{self, IsTerminal, Read};
use std::os::unix::fs::FileTypeExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::{Error, Result};

#[derive(Default)]
struct State {
    requested: bool,
    /// The child that the main thread waits for.
    foreground: Option<Pid>,
    /// Told about the interrupt.
    waiter: Option<Sender<()>>,
}

static STATE: OnceLock<Mutex<State>> = OnceLock::new();

fn with_state<T>(act: impl FnOnce(&mut State) -> T) -> T {
    act(&mut STATE.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner))
}

/// Starts to listen. From here on these signals no longer end the process by themselves.
pub(crate) fn listen() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(Error::io("signals"))?;
    thread::spawn(move || {
        for signal in signals.forever() {
            with_state(|state| {
                state.requested = true;
                // The terminal sends ^C to the children itself, and some take a second one for impatience.
                if let Some(pid) = state.foreground.filter(|_| signal != SIGINT || !io::stdin().is_terminal()) {
                    // Fails only for a child that has ended.
                    let _ = kill_process(pid, Signal::TERM);
                }
                if let Some(waiter) = &state.waiter {
                    let _ = waiter.send(());
                }
            });
        }
    });
    Ok(())
}

/// Fails when the work is to break off.
pub(crate) fn check() -> Result<()> {
    if with_state(|state| state.requested) { Err(Error::Interrupted) } else { Ok(()) }
}

/// Runs a command with our input and outputs to its end, or to the interrupt.
///
/// # Errors
/// When it cannot be started, its code is not 0, or there was an interrupt.
pub(crate) fn foreground(command: &mut Command) -> Result<()> {
    let name = show(command);
    check()?;
    let child = command.spawn().map_err(Error::io(name.clone()))?;
    let status = wait(child).map_err(Error::io(name.clone()))?;
    check()?;
    if status.success() { Ok(()) } else { Err(Error::Command { command: name, status }) }
}

fn wait(mut child: Child) -> io::Result<ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    with_state(|state| state.foreground = pid);
    let status = child.wait();
    with_state(|state| state.foreground = None);
    status
}

/// Waits for the interrupt, or for the end of our input where that is a pipe.
pub(crate) fn wait_for_end() {
    let (sender, ended): (Sender<()>, Receiver<()>) = mpsc::channel();
    let already = with_state(|state| {
        state.waiter = Some(sender.clone());
        state.requested
    });
    if already {
        return;
    }
    if fs::metadata("/dev/stdin").is_ok_and(|input| input.file_type().is_fifo() || input.file_type().is_socket()) {
        thread::spawn(move || {
            let mut buffer = [0; 256];
            while !matches!(io::stdin().read(&mut buffer), Ok(0) | Err(_)) {}
            let _ = sender.send(());
        });
    }
    let _ = ended.recv();
}

/// The command as one would type it, for messages.
pub(crate) fn show(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
    std::iter::once(program).chain(args).collect::<Vec<_>>().join(" ")
}
