//! `chd LIBCHDB CONFIG.xml`: a ClickHouse server out of `libchdb.so`, that lives as long as its standard input.
//!
//! The query that holds the server up reads standard input, so the end of that pipe is a clean shutdown, also when the
//! parent is killed. SIGTERM and `SYSTEM SHUTDOWN` are unclean. Started as root it goes on as `nobody`.

use std::error::Error;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::{env, fs, io, process};

/// The user and group that servers run as when they are started by root: `nobody` and `nogroup`.
const NOBODY: u32 = 65_534;

/// Listens, then waits for the end of standard input.
const QUERY: &str = "SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; SELECT * FROM table FORMAT Null";

/// The result of `query_stable_v2`, as `chdb.h` of this version lays it out.
#[repr(C)]
struct LocalResult {
    buf: *mut c_char,
    len: usize,
    vec: *mut c_void,
    elapsed: f64,
    rows_read: u64,
    bytes_read: u64,
    error_message: *mut c_char,
}

type QueryStableV2 = unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut LocalResult;

fn main() {
    let args: Vec<String> = env::args().collect();
    let [_, library, config] = args.as_slice() else {
        eprintln!("usage: chd LIBCHDB CONFIG.xml");
        process::exit(2);
    };
    if let Err(e) = serve(library, config) {
        eprintln!("chd: {e}");
        process::exit(1);
    }
}

fn serve(library: &str, config: &str) -> Result<(), Box<dyn Error>> {
    let data = data_dir(config)?;
    // SYSTEM SHUTDOWN signals the whole process group, which must not be the caller's.
    // SAFETY: no arguments. It fails only where this process leads a group already, which is as good.
    unsafe { libc::setsid() };
    // Loaded before the change of user: root's cache is closed to others.
    // SAFETY: the file is the pinned and verified library, whose initialisers are sound.
    let library = unsafe { libloading::Library::new(library) }?;
    become_nobody()?;
    env::set_current_dir(&data)?;
    // `system` is an in-memory database here; what the last run left on disk stops the next start.
    match fs::remove_dir_all(Path::new(&data).join("data/system")) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
        _ => {}
    }
    // SAFETY: the name and the type are those of chdb.h.
    let query = unsafe { library.get::<QueryStableV2>(b"query_stable_v2\0") }?;
    let config = format!("--config-file={config}");
    let query_arg = format!("--query={QUERY}");
    let args = ["clickhouse", &config, "--structure=s String", "--input-format=LineAsString", &query_arg];
    let args = args.map(|arg| CString::new(arg).expect("arguments of a process hold no NUL"));
    let mut argv = args.each_ref().map(|arg| arg.as_ptr().cast_mut());
    // SAFETY: the pointers are NUL-terminated and outlive the call, which does not write through them.
    let result = unsafe { query(c_int::try_from(argv.len())?, argv.as_mut_ptr()) };
    // SAFETY: either null or a result that is never freed, which is fine right before the exit.
    let message = unsafe { result.as_ref() }.map(|result| result.error_message).filter(|message| !message.is_null());
    match message {
        // SAFETY: NUL-terminated by contract.
        Some(message) => Err(unsafe { CStr::from_ptr(message) }.to_string_lossy().into()),
        None => Ok(()),
    }
}

/// The first `<path>` of the configuration, which is the server's data directory.
fn data_dir(config: &str) -> Result<String, Box<dyn Error>> {
    let text = fs::read_to_string(config).map_err(|e| format!("{config}: {e}"))?;
    let (_, rest) = text.split_once("<path>").ok_or("the configuration has no <path>")?;
    let (path, _) = rest.split_once("</path>").ok_or("the configuration has no </path>")?;
    fs::create_dir_all(path)?;
    Ok(path.to_owned())
}

/// Gives root up. For any other user there is nothing to do.
fn become_nobody() -> Result<(), io::Error> {
    // SAFETY: plain system calls, made before any thread of our own exists; the library's own follow the change,
    // because libc changes every thread's user.
    unsafe {
        if libc::geteuid() != 0 {
            return Ok(());
        }
        let dropped = libc::setgroups(0, std::ptr::null()) == 0
            && libc::setgid(NOBODY) == 0
            && libc::setuid(NOBODY) == 0
            // Without it /proc/self stays root's, and the server reads its own memory use there.
            && libc::prctl(libc::PR_SET_DUMPABLE, 1) == 0;
        if dropped { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}
