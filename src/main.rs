//! Parse, run, one exit code.

fn main() -> std::process::ExitCode {
    kafkalab::cli::main()
}
