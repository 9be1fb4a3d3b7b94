//! Flags, and what they become.

use clap::CommandFactory as _;

use super::*;

fn parsed(arguments: &[&str]) -> CommandLine {
    CommandLine::try_parse_from([&["leveret"], arguments].concat()).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(arguments: &[&str]) -> String {
    let error =
        CommandLine::try_parse_from([&["leveret"], arguments].concat()).expect_err("this must be refused");
    error.to_string()
}

#[test]
fn the_command_line_is_sound() {
    CommandLine::command().debug_assert();
}

#[test]
fn a_command_is_introduced_in_its_own_help_as_in_the_list() {
    let list = refused(&["--help"]);
    for (command, introduction) in [
        ("ctl", "Tell a running broker what is to hold, ask it how it is, and list what there is"),
        ("storage", "Look after a data directory"),
        ("perf", "Put load on a broker, this one or another, and measure it"),
    ] {
        let help = refused(&[command, "--help"]);
        assert!(list.contains(introduction), "{list}");
        assert!(help.starts_with(introduction), "{help}");
    }
}

#[test]
fn serve_is_what_leveret_alone_does() {
    let flags = ["--config", "a.toml", "--listen", "[::1]:1", "--listen", "127.0.0.1:2", "--set", "a.b=c=d"];
    let alone = parsed(&flags).serve;
    let Some(Command::Serve(named)) = parsed(&[&["serve"], &flags[..]].concat()).command else {
        panic!("this is the command serve")
    };
    assert_eq!(format!("{alone:?}"), format!("{named:?}"));
    assert_eq!(alone.sources.set, [("a.b".to_owned(), "c=d".to_owned())]);
    assert_eq!(alone.listen, ["[::1]:1", "127.0.0.1:2"]);
}

#[test]
fn named_flags_beat_set() {
    let arguments = parsed(&[
        "--log-level",
        "debug",
        "--log-format",
        "json",
        "--data-dir",
        "/x",
        "--listen",
        "127.0.0.1:9",
        "--set",
        "log.level=error",
        "--set",
        "amqp.heartbeat=9",
    ]);
    let sources =
        Sources { environment: Environment::default(), ..arguments.serve.sources().expect("flags") };
    let config = sources.load(Machine::read()).expect("valid").config();
    assert_eq!(config.log.level, tracing::level_filters::LevelFilter::DEBUG);
    assert_eq!(config.log.format, crate::config::LogFormat::Json);
    assert_eq!(config.data_dir, std::path::Path::new("/x"));
    assert_eq!(config.server.listen, ["127.0.0.1:9".parse().expect("an address")]);
    assert_eq!(config.session.heartbeat, 9);
}

#[test]
fn what_makes_no_sense_is_refused() {
    assert!(refused(&["--set", "amqp.heartbeat"]).contains("expected section.key=value"));
    assert!(refused(&["--ephemeral", "--data-dir", "x"]).contains("cannot be used with"));
    assert!(refused(&["--lisen", "127.0.0.1:1"]).contains("--listen"));
    assert!(refused(&["chek"]).contains("check"));
}

#[test]
fn the_help_fits_a_terminal() {
    let help = CommandLine::command().render_long_help().to_string();
    for line in help.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    for word in
        ["--config", "--ephemeral", "--print-config", "serve", "check", "storage", "LEVERET_SECTION_KEY"]
    {
        assert!(help.contains(word), "{word}");
    }
}
