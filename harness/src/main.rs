//! The `harness` program: try, check, build and measure Junheng.

mod commands;

fn main() -> std::process::ExitCode {
    commands::run()
}
