use std::ffi::OsString;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::cli::{Arguments, help};

fn arguments(list: &[&str]) -> Arguments {
    let with_none = std::iter::once("--no-config").chain(list.iter().copied());
    Arguments::parse(with_none.map(OsString::from)).expect("a good command line")
}

fn environment(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(n, v)| (n.into(), v.into())).collect()
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ooblex.toml");
    std::fs::write(&path, text).expect("a file");
    (folder, path)
}

/// Loads from all three layers.
fn layers(toml: &str, variables: &[(&str, &str)], flags: &[&str]) -> Result<Loaded, Vec<String>> {
    let (_folder, path) = file(toml);
    let path = path.to_str().expect("UTF-8");
    let list = ["--config", path].into_iter().chain(flags.iter().copied()).map(OsString::from);
    let arguments =
        Arguments::parse(list).map_err(|e| e.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    load(&arguments, environment(variables))
        .map_err(|e| e.iter().map(|e| e.to_string().replace(path, "FILE")).collect())
}

/// A good value of a setting that is not its default, and how a file says it.
fn example(setting: &Setting) -> (String, String) {
    let quoted = |t: &str| (t.to_owned(), format!("{t:?}"));
    match (setting.name, setting.kind) {
        ("bind", _) => quoted("::1"),
        ("ice_server", _) => {
            let server = "turn:turn.example.org,me,swordfish";
            (server.into(), format!("[{server:?}]"))
        }
        ("turn", _) => {
            let provider = "coturn:turn.example.org,swordfish";
            (provider.into(), format!("[{provider:?}]"))
        }
        ("udp_ports", _) => quoted("50000-50100"),
        ("external_ip", _) => ("192.0.2.1,2001:db8::1".into(), "[\"192.0.2.1\", \"2001:db8::1\"]".into()),
        ("webrtc" | "private_candidates", _) => ("false".into(), "false".into()),
        ("onnxruntime", _) => quoted("/opt/onnxruntime/libonnxruntime.so"),
        ("model_dir", _) => quoted("/var/lib/ooblex/models"),
        ("checkpoint_dir", _) => quoted("/mnt/drive/checkpoints"),
        ("cache_dir", _) => quoted("/mnt/drive/cache"),
        ("model_url", _) => quoted("https://models.example.org/v1/"),
        ("model_manifest", _) => ("/a.json,/b.json".into(), "[\"/a.json\", \"/b.json\"]".into()),
        ("backgrounds", _) => quoted("/srv/backgrounds"),
        ("pin", _) => ("a,b".into(), "[\"a\", \"b\"]".into()),
        ("webrtc_port", _) => ("8443".into(), "8443".into()),
        ("model_name", _) => quoted("blur|sepia"),
        ("log_level", _) => quoted("warn,ooblex_mjpeg=debug"),
        ("cors_origins", _) => (
            "https://a.example,https://b.example".into(),
            "[\"https://a.example\", \"https://b.example\"]".into(),
        ),
        ("allowed_hosts", _) => ("a.example,.b".into(), "[\"a.example\", \".b\"]".into()),
        ("trusted_proxies", _) => ("10.0.0.0/8,::1".into(), "[\"10.0.0.0/8\", \"::1\"]".into()),
        ("source", _) => quoted("cam=pattern"),
        ("tunnel", _) => quoted("ssh:me@tunnel.example:2222"),
        ("tunnel_url", _) => quoted("https://live.example.org"),
        ("tunnel_command", _) => quoted("bore local {port} --to bore.pub"),
        ("tunnel_url_pattern", _) => quoted("bore.pub:*"),
        ("ngrok_auth_token" | "cloudflared_token", _) => quoted("2abcdef_0123456789"),
        ("cloudflared_program" | "tunnel_ssh_key", _) => quoted("/opt/tunnel/file"),
        ("publish_token" | "view_token" | "control_token", _) => {
            quoted(&format!("{}-0123456789", setting.name))
        }
        (_, Kind::Bool) => ("true".into(), "true".into()),
        (_, Kind::Choice(words)) => quoted(words[words.len() - 1]),
        (_, Kind::Int { max, .. }) => ((max - 1).to_string(), (max - 1).to_string()),
        (name, _) => panic!("no example for {name}"),
    }
}

#[test]
fn every_setting_has_three_forms_that_mean_the_same() {
    let default = format!("{:?}", Config::default());
    for setting in SETTINGS {
        let (text, toml) = example(setting);
        for name in setting.names() {
            let flag = format!("--{}={text}", name.replace('_', "-"));
            let by_flag = layers("", &[], &[&flag]).unwrap_or_else(|e| panic!("{flag}: {e:?}"));
            let flag_of = |loaded: &Loaded| loaded.origin(setting.name).to_string();
            assert_eq!(flag_of(&by_flag), format!("--{}", name.replace('_', "-")));
            assert_ne!(format!("{:?}", by_flag.config), default, "{flag} changes nothing");
            let key = format!("{name} = {toml}");
            let variable = setting::variable(name);
            if setting.flag_only {
                for result in [layers(&key, &[], &[]), layers("", &[(&variable, &text)], &[])] {
                    let errors = result.expect_err("given on the command line only");
                    assert!(errors[0].contains("command line only; use --source"), "{errors:?}");
                }
                continue;
            }
            let by_file = layers(&key, &[], &[]).unwrap_or_else(|e| panic!("{key}: {e:?}"));
            let by_variable =
                layers("", &[(&variable, &text)], &[]).unwrap_or_else(|e| panic!("{variable}: {e:?}"));
            assert_eq!(by_file.config, by_flag.config, "{name}");
            assert_eq!(by_variable.config, by_flag.config, "{name}");
            assert!(by_file.origin(setting.name).to_string().ends_with("ooblex.toml:1"));
            assert_eq!(by_variable.origin(setting.name).to_string(), variable);
        }
    }
}

#[test]
fn later_layers_win() {
    let toml = "mjpeg_port = 1\njpeg_quality = 10\ntarget_fps = 10\nsample_every = 2\n";
    let variables = [("OOBLEX_JPEG_QUALITY", "20"), ("OOBLEX_TARGET_FPS", "20"), ("PATH", "/bin")];
    let loaded = layers(toml, &variables, &["--target-fps", "30", "--sample-every=5"]).expect("good");
    let config = loaded.config;
    assert_eq!(
        (config.mjpeg_port, config.jpeg_quality, config.target_fps, config.sample_every),
        (1, 20, 30, 5)
    );
}

#[test]
fn an_alias_in_a_later_layer_wins_and_two_names_in_one_layer_are_refused() {
    let loaded = layers("effect = \"blur\"", &[("OOBLEX_MODEL", "sepia")], &[]).expect("good");
    assert_eq!(loaded.config.model_name, "sepia");
    let errors = layers("", &[], &["--effect", "blur", "--model-name=sepia"]).expect_err("twice");
    assert_eq!(errors, ["model_name is given twice, by --effect and --model-name; leave one out"]);
    assert!(layers("effect = \"blur\"\nmodel = \"blur\"", &[], &[]).is_err());
}

#[test]
fn unknown_names_are_refused_with_a_suggestion() {
    let errors = layers("mjpeg_prot = 1\nfoo = 2\n[table]\nx = 1", &[("OOBLEX_JPEG_QALITY", "1")], &[])
        .expect_err("unknown");
    assert_eq!(
        errors,
        [
            "unknown variable `OOBLEX_JPEG_QALITY`; did you mean `OOBLEX_JPEG_QUALITY`?",
            "FILE:2: unknown key `foo`",
            "FILE:1: unknown key `mjpeg_prot`; did you mean `mjpeg_port`?",
            "FILE:3: unknown key `table`",
        ]
    );
    for (flag, meant) in
        [("--mjpeg-prot", "--mjpeg-port"), ("--mjpeg_port=1", "--mjpeg-port"), ("--hlep", "--help")]
    {
        let errors = Arguments::parse([flag.into()]).expect_err(flag);
        assert!(errors[0].to_string().ends_with(&format!("did you mean `{meant}`?")), "{errors:?}");
    }
    let errors = Arguments::parse(["docter".into()]).expect_err("unknown");
    assert_eq!(errors[0].to_string(), "unknown command `docter`; did you mean `doctor`?");
}

#[test]
fn every_problem_of_every_layer_is_reported_at_once() {
    let toml = "jpeg_quality = 101\nbind = 5\n";
    let variables = [("OOBLEX_TARGET_FPS", "fast"), ("OOBLEX_CORS_ORIGINS", "*")];
    let errors =
        layers(toml, &variables, &["--max-streams", "0", "--source", "clip.mp4", "--use-gpu", "maybe"]);
    let errors = errors.expect_err("wrong");
    for expected in [
        "bind (from FILE:2) is 5; allowed: an IP address, or localhost",
        "jpeg_quality (from FILE:1) is \"101\"; allowed: a whole number from 1 to 100",
        "target_fps (from OOBLEX_TARGET_FPS) is \"fast\"; allowed: a whole number from 0 to 240 frames a second",
        "max_streams (from --max-streams) is \"0\"; allowed: a whole number from 1 to 10000 streams",
        "use_gpu (from --use-gpu) is \"maybe\"; allowed: auto, true, off, false, required",
        "cors_origins (from OOBLEX_CORS_ORIGINS) is \"*\"; allowed: origins like https://example.org (`*` would let every web page use this server; list the origins)",
        "source (from --source) is \"clip.mp4\"; allowed: NAME=PATH, NAME=pattern or NAME=http://... (it has no name; write NAME= in front of it)",
    ] {
        assert!(errors.iter().any(|e| e == expected), "{expected} is not among {errors:#?}");
    }
    assert_eq!(errors.len(), 7, "{errors:#?}");
}

#[test]
fn a_file_that_is_not_toml_or_not_there_is_an_error() {
    let errors = layers("mjpeg_port = 1\nbind = \n", &[], &[]).expect_err("not TOML");
    assert!(errors[0].starts_with("FILE:2: not TOML: "), "{errors:?}");
    let arguments = Arguments::parse(["--config".into(), "/nowhere/x.toml".into()]).expect("good");
    let errors = load(&arguments, []).expect_err("absent");
    assert!(errors[0].to_string().starts_with("cannot read /nowhere/x.toml: "), "{errors:?}");
    let (_folder, path) = file("mjpeg_port = 7");
    let named = load(&Arguments::default(), [("OOBLEX_CONFIG".into(), path.into())]).expect("good");
    assert_eq!(named.config.mjpeg_port, 7);
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    for toml in [
        "mjpeg_port = \"80\"",
        "mjpeg_port = 1.5",
        "demo = 1",
        "demo = \"true\"",
        "model_name = true",
        "cors_origins = \"https://a.example\"",
        "cors_origins = [1]",
        "mjpeg_port = 0x10",
        "mjpeg_port = -1",
    ] {
        let errors = layers(toml, &[], &[]).expect_err(toml);
        assert!(errors[0].contains("; allowed: "), "{errors:?}");
    }
    let loaded = layers("use_gpu = false\nmax_body_bytes = 1_000_000", &[], &[]).expect("good");
    assert_eq!((loaded.config.use_gpu, loaded.config.max_body_bytes), (UseGpu::Off, 1_000_000));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let errors = layers("", &[], &["--mjpeg-port=9", "--webrtc-port=9"]).expect_err("same port");
    assert!(
        errors[0]
            .starts_with("webrtc_port (from --webrtc-port) and mjpeg_port (from --mjpeg-port) are both 9")
    );
    assert!(layers("", &[], &["--mjpeg-port=0", "--webrtc-port=0"]).is_ok());
    assert!(layers("", &[], &["--demo", "--source", "demo=pattern"]).is_err());
    assert!(layers("", &[], &["--source", "a=pattern", "--source", "a=pattern"]).is_err());
    assert!(layers("", &[], &["--source", "a=pattern", "--demo", "--max-streams=1"]).is_err());
}

#[test]
fn flags_for_true_and_false() {
    for (flags, demo) in [
        (&["--demo"][..], true),
        (&["--demo=false"], false),
        (&["--demo", "--no-demo"], false),
        (&["--demo=true", "doctor"], true),
    ] {
        assert_eq!(load(&arguments(flags), []).expect("good").config.demo, demo, "{flags:?}");
    }
    for bad in ["--no-demo=true", "--no-mjpeg-port", "--mjpeg-port", "-x", "--help=1"] {
        assert!(Arguments::parse([bad.into()]).is_err(), "{bad}");
    }
    assert!(Arguments::parse(["serve".into(), "doctor".into()]).is_err());
}

#[test]
fn lists_gather() {
    let config = load(
        &arguments(&[
            "--cors-origins",
            "http://a,http://b",
            "--cors-origins=http://c",
            "--source=a=pattern",
            "--source",
            "b=x,y.mp4",
        ]),
        [],
    )
    .expect("good")
    .config;
    assert_eq!(
        config.cors_origins.iter().map(WebOrigin::as_str).collect::<Vec<_>>(),
        ["http://a", "http://b", "http://c"]
    );
    assert_eq!(config.source[1].place, SourcePlace::File("x,y.mp4".into()));
}

#[test]
fn servers_are_repeated_as_flags_and_separated_by_blanks_in_a_variable() {
    let both = ["stun:a.example", "turn:b.example:3478?transport=tcp,me,pass,word"];
    let of =
        |loaded: Loaded| loaded.config.ice_server.iter().map(|s| s.expose().to_owned()).collect::<Vec<_>>();
    let flags = layers("", &[], &["--ice-server", both[0], "--ice-server", both[1]]).expect("good");
    assert_eq!(of(flags), both);
    assert_eq!(of(layers("", &[("OOBLEX_ICE_SERVER", &both.join(" "))], &[]).expect("good")), both);
    assert_eq!(of(layers("", &[], &["--ice-server", "none"]).expect("good")), [""; 0]);
    assert_eq!(of(layers("ice_server = []", &[], &[]).expect("good")), [""; 0]);
    assert_eq!(Config::default().ice_server.len(), 3);
}

#[test]
fn the_printed_configuration_loads_to_the_same_settings() {
    let mut flags: Vec<String> = SETTINGS
        .iter()
        .filter(|s| !s.flag_only && !s.secret)
        .map(|s| format!("--{}={}", s.flag(), example(s).0))
        .collect();
    for flags in [std::mem::take(&mut flags), Vec::new()] {
        let list: Vec<&str> = flags.iter().map(String::as_str).collect();
        let loaded = load(&arguments(&list), []).expect("good");
        let printed = print(&loaded);
        let again = layers(&printed, &[], &[]).unwrap_or_else(|e| panic!("{e:?}\n{printed}"));
        assert_eq!(again.config, loaded.config, "{printed}");
    }
}

#[test]
fn the_printed_configuration_names_origins_and_hides_secrets() {
    let flags = ["--source", "cam=http://me:secret@host/s?token=secret", "--demo"];
    let loaded = layers("jpeg_quality = 70", &[("OOBLEX_MAX_VIEWERS", "5")], &flags).expect("good");
    let printed = print(&loaded);
    for line in [
        "# source = [\"cam=http://***@host/s?***\"]  # --source",
        "demo = true  # --demo",
        "max_viewers = 5  # OOBLEX_MAX_VIEWERS",
        "mjpeg_port = 8081  # default",
        "# webrtc_port = ...  # default: unset",
    ] {
        assert!(printed.lines().any(|l| l == line), "{line}\n{printed}");
    }
    assert!(printed.lines().any(|l| l.starts_with("jpeg_quality = 70  # ") && l.ends_with("ooblex.toml:1")));
    assert!(!printed.contains("secret"), "{printed}");
    for url in [
        "http://me:secret@host/s?token=secret",
        "cam=https://me:secret@host/s?token=secret",
        "a b=http://me:secret@host",
    ] {
        let errors = layers("", &[], &["--source", url]).expect_err("wrong");
        assert!(!errors[0].contains("secret") && errors[0].contains("***@host"), "{errors:?}");
    }
}

#[test]
fn secrets_are_in_no_output() {
    const SECRET: &str = "swordfish-0123456789";
    let secrets = || SETTINGS.iter().filter(|s| s.secret);
    assert!(secrets().count() >= 5);
    for setting in secrets() {
        let good = if setting.name.ends_with("_token") { SECRET.to_owned() } else { example(setting).0 };
        let flag = format!("--{}={good}", setting.flag());
        let loaded = layers("", &[], &[&flag]).unwrap_or_else(|e| panic!("{e:?}"));
        let printed = print(&loaded);
        let line = format!("# {} = ", setting.name);
        assert!(printed.lines().any(|l| l.starts_with(&line) && l.contains("***")), "{printed}");
        for shown in [printed, format!("{loaded:?}")] {
            assert!(!shown.contains("swordfish"), "{shown}");
        }
        let (name, variable) = (setting.name, setting.variable());
        let number = SECRET.replace(|c: char| !c.is_ascii_digit(), "");
        let wrong = [
            layers("", &[], &[&format!("--{}=swordfish!", setting.flag())]),
            layers("", &[(&variable, "swordfish !")], &[]),
            layers(&format!("{name} = \"swordfish!\""), &[], &[]),
            layers(&format!("{name} = [\"swordfish!\"]"), &[], &[]),
            layers(&format!("{name} = 1{number}"), &[], &[]),
            layers("", &[], &[&format!("--{}x", setting.flag()), SECRET]),
            layers("", &[], &[&format!("--{}x={SECRET}", setting.flag())]),
        ];
        for errors in wrong {
            let errors = errors.expect_err("wrong");
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(!errors[0].contains("swordfish") && !errors[0].contains(&number), "{errors:?}");
        }
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt;
        let bytes = OsString::from_vec(b"swordfish-0123456789\xff".to_vec());
        let errors = load(&arguments(&[]), [("OOBLEX_VIEW_TOKEN".into(), bytes)]).expect_err("not UTF-8");
        assert!(!errors[0].to_string().contains("swordfish"), "{errors:?}");
    }
}

#[test]
fn tokens_must_differ() {
    let flags = ["--view-token=0123456789abcdef", "--publish-token=0123456789abcdef"];
    let errors = layers("", &[], &flags).expect_err("the same");
    assert_eq!(
        errors,
        [
            "view_token (from --view-token) and publish_token (from --publish-token) are the same; choose another for one of them"
        ]
    );
    assert!(layers("", &[], &[flags[0], "--publish-token=0123456789abcdeg"]).is_ok());
    let errors = layers("", &[("OOBLEX_VIEW_TOKEN", "")], &[]).expect_err("empty");
    assert_eq!(
        errors,
        [
            "view_token (from OOBLEX_VIEW_TOKEN) is \"***\"; allowed: 16 to 128 of the characters A-Z a-z 0-9 - . _ ~ (it has 0 characters)"
        ]
    );
}

#[test]
fn help_names_every_setting_and_no_line_is_too_long() {
    let help = help();
    for setting in SETTINGS {
        assert!(
            help.lines().any(|l| l.trim_start().split(' ').next() == Some(&format!("--{}", setting.flag()))),
            "{}",
            setting.name
        );
        assert!(setting.aliases.iter().all(|a| help.contains(&format!("--{a}"))));
    }
    assert!(help.lines().all(|l| l.len() <= 112), "{:?}", help.lines().find(|l| l.len() > 112));
}

#[test]
fn the_document_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CONFIG.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, markdown()).expect("writes");
    }
    let renew = "docs/CONFIG.md is out of date; run UPDATE_DOCS=1 cargo nextest run --release -p ooblex-colab the_document_is_current";
    assert!(std::fs::read_to_string(path).unwrap_or_default() == markdown(), "{renew}");
}

#[test]
fn every_name_is_used_once() {
    let mut names: Vec<_> = SETTINGS.iter().flat_map(Setting::names).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert_eq!(Config::default().mjpeg_port, 8081);
}

proptest! {
    #[test]
    fn whole_numbers_are_taken_within_their_range_and_nowhere_else(index in 0..SETTINGS.len(), n in any::<u64>(), near in 0u64..3) {
        let setting = &SETTINGS[index];
        let Kind::Int { min, max, .. } = setting.kind else { return Ok(()) };
        for n in [n, min.saturating_sub(near), min + near, max.saturating_sub(near), max + near] {
            let flag = format!("--{}={n}", setting.flag());
            let other = if setting.name == "webrtc_port" { "--mjpeg-port=0" } else { "--webrtc-port=0" };
            let result = load(&arguments(&[&flag, other]), []);
            prop_assert_eq!(result.is_ok(), (min..=max).contains(&n), "{} {:?}", flag, result);
        }
    }

    #[test]
    fn no_command_line_and_no_file_panics(words in proptest::collection::vec("(-{0,2}[a-z=-]{0,12}|--source|--demo|serve)", 0..6), toml in "\\PC{0,60}") {
        let _ = Arguments::parse(words.iter().map(OsString::from)).map(|a| load(&a, []));
        let _ = layers(&toml, &[], &[]);
    }
}
