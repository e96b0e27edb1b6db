//! The `outbox` command, where the tests can find it.

fn main() -> std::process::ExitCode {
    outbox_relay::cli::main()
}
