//! Configuration: defaults < file < environment < flags, checked in full before anything starts.
//!
//! One table describes every setting. It gives the fields of [`Config`], the flags, the variables, the keys of the
//! file, the help, `--print-config` and `docs/CONFIG.md`: to add a setting, add an entry to the table.

mod access;
mod file;
mod load;
mod models;
mod network;
mod print;
mod secret;
mod setting;
mod tunnel;
mod types;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ooblex_core::Secret;
use ooblex_http::Network;

pub use self::access::HostName;
pub(crate) use self::access::MadeTokens;
pub(crate) use self::load::Problems;
pub use self::load::{Invalid, Loaded, Origin, SettingError, load};
pub use self::models::{EngineChoice, ModelUrl};
pub use self::network::{IceServerText, PortRange, TurnText};
pub use self::print::{markdown, print};
pub use self::secret::Token;
pub(crate) use self::secret::url_safe;
pub use self::setting::{Kind, Setting};
pub use self::tunnel::{CommandLine, ForwardedFor, PublicUrl, SshHost, TunnelChoice, UrlPattern};
pub(crate) use self::types::without_secrets;
pub use self::types::{LineFormat, LogLevel, SourcePlace, SourceSpec, UseGpu, WebOrigin};

/// Ports that can be listened on, 0 for any free one.
const PORT: Kind = Kind::Int { min: 0, max: 65_535, unit: "" };

/// Secrets that give rights.
const TOKEN: Kind = Kind::Text("TOKEN", "16 to 128 of the characters A-Z a-z 0-9 - . _ ~");

const fn int(min: u64, max: u64, unit: &'static str) -> Kind {
    Kind::Int { min, max, unit }
}

/// Makes the table and the struct from the same lines:
/// `"Heading" { name (aliases): type = kind, default, "help"; }`.
macro_rules! settings {
    ($($group:literal {
        $($name:ident $(($($alias:ident),+))? $([$only:ident])?: $type:ty = $kind:expr, $default:expr, $help:literal;)+
    })+) => {
        /// Every setting, in the order of help and documents.
        pub const SETTINGS: &[Setting] = &[$($(
            Setting {
                name: stringify!($name),
                aliases: &[$($(stringify!($alias)),+)?],
                group: $group,
                kind: $kind,
                default: $default,
                help: $help,
                flag_only: settings!(@flag_only $($only)?),
                secret: settings!(@secret $($only)?),
            },
        )+)+];

        /// The settings of one server. Obtained from [`load`], or from [`Config::default`] and changed.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct Config {
            $($(
                #[doc = $help]
                pub $name: $type,
            )+)+
        }

        impl Config {
            /// Reads every field; `None` if any could not be read, which the reader then has noted.
            fn read(reader: &mut load::Reader<'_>) -> Option<Self> {
                $($(let $name = reader.read::<$type>(stringify!($name));)+)+
                Some(Self { $($($name: $name?,)+)+ })
            }

            /// Changes one setting that is not a list.
            ///
            /// # Errors
            /// If there is none of that name, or the text is not allowed.
            pub(crate) fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
                use setting::SettingType;
                let setting = find(name).ok_or("there is no such setting")?;
                let wrong = |_| format!("allowed: {}", setting.allowed());
                $($(if name == stringify!($name) {
                    self.$name = <$type as SettingType>::read(&[text.to_owned()], setting).map_err(wrong)?;
                })+)+
                Ok(())
            }

            /// Names and values as a file would say them; `None` for what is unset.
            pub(crate) fn values(&self) -> Vec<(&'static str, Option<String>)> {
                use setting::SettingType;
                vec![$($((stringify!($name), self.$name.to_toml()),)+)+]
            }
        }
    };
    (@flag_only flag_only) => { true };
    (@flag_only $($other:ident)?) => { false };
    (@secret secret) => { true };
    (@secret $($other:ident)?) => { false };
}

settings! {
    "Network" {
        bind: IpAddr = Kind::Text("ADDRESS", "an IP address, or localhost"), Some("127.0.0.1"),
            "Address to listen on. With any but a loopback address, tokens that are not set are made at the start and printed.";
        mjpeg_port: u16 = PORT, Some("8081"),
            "Port of the page, the API and the streams; 0 takes any free one.";
        webrtc_port: Option<u16> = PORT, None,
            "A second port with the same routes; not used unless set. 8443 by custom.";
        cors_origins: Vec<WebOrigin> = Kind::List("ORIGIN", "origins like https://example.org"), None,
            "Web origins whose pages may use the API. Pictures may be shown by any page while bound to loopback.";
    }
    "Access" {
        publish_token [secret]: Option<Token> = TOKEN, None,
            "Who publishes must show this token. Without control_token it gives the right to change effects, too.";
        view_token [secret]: Option<Token> = TOKEN, None,
            "Who watches, or reads the state, must show this token.";
        control_token [secret]: Option<Token> = TOKEN, None,
            "Who changes effects must show this token. It gives the rights to publish and to watch, too.";
        open_access: bool = Kind::Bool, Some("false"),
            "Make no tokens: whoever reaches the server may do everything that no token set here guards.";
        allowed_hosts: Vec<HostName> = Kind::List("HOST", "names like cam.example.org; .example.org for all names below it"), None,
            "Further names under which the server may be addressed, as behind a proxy. Addresses in digits, localhost and Colab's proxy always may.";
        trusted_proxies: Vec<Network> = Kind::List("ADDRESS", "addresses like 127.0.0.8, or networks like 10.0.0.0/8"), None,
            "Proxies in front of this server: whom they name in X-Forwarded-For is the sender, and has limits of their own. With any, tokens that are not set are made at the start and printed.";
        max_requests_per_second: u32 = int(1, 100_000, "requests a second"), Some("200"),
            "Most requests from one address, twice as many at once; this machine itself is exempt.";
    }
    "Streams" {
        demo: bool = Kind::Bool, Some("false"),
            "Play the bundled clip as stream `demo`.";
        source [flag_only]: Vec<SourceSpec> = Kind::List("NAME=WHERE", "NAME=PATH, NAME=pattern or NAME=http://..."), None,
            "Play a clip, a Y4M file, a folder of pictures, the test pattern or an MJPEG stream as stream NAME.";
        model_name (effect, model): String = Kind::Text("EFFECT", "an effect, or several joined by `|`"), Some("face_detection"),
            "What happens to every frame until somebody chooses otherwise. `ooblex-colab effects` lists what there is.";
        target_fps: u32 = int(0, 240, "frames a second"), Some("30"),
            "Most frames a second that a stream processes; 0 for no limit.";
        sample_every: u32 = int(1, 1_000, ""), Some("1"),
            "Process only every n-th frame.";
        frame_queue_size: usize = int(1, 1_000, "frames"), Some("30"),
            "Frames of memory that a stream may keep for reuse. Live streams never queue more than one frame.";
        stream_idle_timeout: Duration = int(1, 86_400, "seconds"), Some("30"),
            "A published stream ends after this long without a picture.";
        use_gpu: UseGpu = Kind::Choice(UseGpu::WORDS), Some("auto"),
            "Whether to use an accelerator: if there is one (auto, true), never (off, false), or refuse to start without (required).";
    }
    "Models" {
        engine: EngineChoice = Kind::Choice(EngineChoice::WORDS), Some("auto"),
            "What runs models: the fastest that is there (auto), or one of them; it is an error if that one is not there.";
        onnxruntime: Option<PathBuf> = Kind::Text("FILE", "the path of the library of ONNX Runtime"), None,
            "Library of ONNX Runtime. Unless set it is looked for beside the program, in the Python environment, and where ORT_DYLIB_PATH says.";
        model_dir: Option<PathBuf> = Kind::Text("FOLDER", "a path"), None,
            "Folder in which models are looked for first, and into which `models pull` puts them. `ooblex-colab models path` lists all folders.";
        model_url: Option<ModelUrl> = Kind::Text("URL", "https://HOST/FOLDER/ or https://HOST/LIST.json; http:// on this machine alone"), None,
            "Where `models pull` fetches models from: a folder that holds the files, or a list that says where each lies.";
        model_manifest: Vec<PathBuf> = Kind::List("FILE", "paths of manifests"), None,
            "Semantic models of your own, each described by a JSON file beside it; docs/MODELS.md says how. Each becomes an effect.";
        backgrounds: Option<PathBuf> = Kind::Text("FOLDER", "a path"), None,
            "Folder of pictures, JPEG, PNG or WebP, that background_replace offers by the names of their files.";
        pin: Vec<String> = Kind::List("MODEL", "names of models"), None,
            "Models to load at the start and to keep in memory. The server starts before they are loaded.";
        model_memory: u64 = int(16, 1_048_576, "MB"), Some("1024"),
            "Most memory of models on the CPU together. Above 80 % of it models that nobody uses leave; what does not fit is refused.";
        gpu_mem_limit: u64 = int(64, 1_048_576, "MB"), Some("4096"),
            "Most memory of a GPU for one model, and for all models together.";
        model_threads: usize = int(1, 64, "threads"), Some("1"),
            "Threads within one run of a model on the CPU.";
        model_timeout: Duration = int(1, 3_600, "seconds"), Some("10"),
            "A run of a model that takes longer is given up, and the model is loaded anew.";
    }
    "WebRTC" {
        webrtc: bool = Kind::Bool, Some("true"),
            "Take publishers by WebRTC, and show streams by it: WHIP, /webrtc/offer, WHEP.";
        ice_server [secret]: Vec<IceServerText> = Kind::Words("SERVER", "URL or URL,user,credential, with a URL like stun:HOST:PORT or turn:HOST:PORT?transport=tcp; or none"),
            Some("stun:stun.l.google.com:19302 stun:stun1.l.google.com:19302 stun:stun.cloudflare.com:3478"),
            "STUN and TURN servers. The default ones are asked only while the server listens beyond loopback; given ones always.";
        turn [secret]: Vec<TurnText> = Kind::Words("PROVIDER", "turn:HOST:PORT,USER,CREDENTIAL, coturn:HOST:PORT,SECRET, cloudflare:KEY_ID,API_TOKEN, twilio:ACCOUNT_SID,AUTH_TOKEN, metered:APP,API_KEY, https://HOST/PATH,TOKEN or vdo-ninja"), None,
            "Where TURN servers come from, for networks that let nothing through directly; always asked. Credentials that end soon, and those of public:turn:..., are told to browsers.";
        private_candidates: bool = Kind::Bool, Some("true"),
            "Connect to publishers at private addresses, as in the same LAN. Switch it off where all come from outside.";
        udp_ports: Option<PortRange> = Kind::Text("A-B", "ports like 50000-50100"), None,
            "UDP ports for media, to be opened in a firewall; any free ones unless set. Every session takes one or two of each address.";
        external_ip: Vec<IpAddr> = Kind::List("ADDRESS", "IP addresses"), None,
            "Addresses by which this machine is known outside, where a NAT passes its UDP ports on unchanged.";
        max_webrtc_sessions: usize = int(1, 10_000, "sessions"), Some("64"),
            "Most WebRTC publishers at once.";
        max_webrtc_viewers: usize = int(1, 10_000, "sessions"), Some("64"),
            "Most WebRTC viewers at once.";
        max_webrtc_half_open: usize = int(1, 10_000, "sessions"), Some("32"),
            "Most of both that have been answered and are not connected yet.";
        max_webrtc_half_open_per_address: usize = int(1, 10_000, "sessions"), Some("8"),
            "Most of these from one address.";
    }
    "Live video" {
        live_budget_ms: u64 = int(50, 10_000, "milliseconds"), Some("250"),
            "How old a picture may be when a viewer could show it. Older ones are left out, and whoever is further behind is brought to live.";
        max_live_sessions: usize = int(1, 100_000, "sockets"), Some("128"),
            "Most sockets for live video (/ws/live, /ws/view) at once.";
    }
    "Pictures" {
        jpeg_quality: u8 = int(1, 100, ""), Some("85"),
            "JPEG quality of what viewers get. Uploaded pictures that no effect touches are passed on as they are.";
    }
    "Limits" {
        max_streams: usize = int(1, 10_000, "streams"), Some("32"),
            "Most streams at once.";
        max_viewers: usize = int(1, 100_000, "viewers"), Some("1024"),
            "Most viewers at once, over all streams.";
        max_connections_per_address: usize = int(1, 100_000, "connections"), Some("64"),
            "Most connections at once from one address; loopback is exempt.";
        max_body_bytes: usize = int(1_024, 268_435_456, "bytes"), Some("8388608"),
            "Largest upload.";
        max_pixels: u64 = int(4_096, 268_435_456, "pixels"), Some("16000000"),
            "Largest picture, width times height.";
    }
    "Sessions" {
        checkpoint_dir: Option<PathBuf> = Kind::Text("FOLDER", "a path, or none"), None,
            "Folder in which the server keeps what it is doing, for --resume; docs/CHECKPOINTS.md says what. Unless set, ooblex/checkpoints of a Google Drive that is mounted on Colab.";
        resume: bool = Kind::Bool, Some("false"),
            "Go on with the newest checkpoint that no running server of this machine uses.";
        cache_dir: Option<PathBuf> = Kind::Text("FOLDER", "a path, or none"), None,
            "Folder for what takes long to get again: fetched models, unless model_dir is set, and engines built by TensorRT. Unless set, ooblex of a Google Drive that is mounted on Colab.";
        session_limit: Option<u64> = int(1, 10_080, "minutes"), None,
            "How long the machine is lent to you, counted from the start of the server: the end is announced 30, 10 and 2 minutes before. Nothing is stopped or prolonged.";
    }
    "Tunnel" {
        tunnel: TunnelChoice = Kind::Text("TUNNEL", "none, ngrok, cloudflared, ssh:USER@HOST[:PORT] or command"), Some("none"),
            "What makes the server reachable from outside; docs/TUNNELS.md describes each. The server starts also where the tunnel cannot be opened, and says why.";
        tunnel_url: Option<PublicUrl> = Kind::Text("URL", "an origin like https://example.org"), None,
            "Public address of the tunnel where it is known beforehand: the domain of ngrok, that of a named tunnel of cloudflared, an SSH server of your own.";
        tunnel_port: u16 = PORT, Some("0"),
            "Port of this machine, on loopback, that the tunnel forwards to; 0 takes any free one. A named tunnel of cloudflared needs a fixed one.";
        ngrok_auth_token [secret]: Option<Secret> = Kind::Text("TOKEN", "the token of an account with ngrok"), None,
            "For the tunnel ngrok. The variable NGROK_AUTH_TOKEN is read, too.";
        cloudflared_token [secret]: Option<Secret> = Kind::Text("TOKEN", "the token of a named tunnel"), None,
            "For a named tunnel of cloudflared, which needs tunnel_url and tunnel_port, too. Without it a quick tunnel is opened.";
        cloudflared_program: Option<PathBuf> = Kind::Text("FILE", "the path of cloudflared"), None,
            "The program cloudflared. Unless set it is looked for on PATH, and where `ooblex-colab tunnel fetch-cloudflared` puts it.";
        tunnel_ssh_key: Option<PathBuf> = Kind::Text("FILE", "the path of a private key without passphrase"), None,
            "Key to log in by SSH with. Unless set, ssh takes what it finds.";
        tunnel_ssh_port: u16 = PORT, Some("80"),
            "Port that the SSH server is to forward; 0 lets it choose one.";
        tunnel_command: Option<CommandLine> = Kind::Text("COMMAND", "a program and its arguments, with {port} in place of the local port"), None,
            "Program that opens the tunnel `command`, run without a shell.";
        tunnel_url_pattern: Option<UrlPattern> = Kind::Text("PATTERN", "text without blanks, in which * stands for anything"), None,
            "What the public URL looks like that the program, or the SSH server, prints: https://*.example.org.";
        tunnel_forwarded_for: ForwardedFor = Kind::Choice(ForwardedFor::WORDS), Some("auto"),
            "Whether the last address in X-Forwarded-For counts for limits behind the tunnel: auto believes ngrok and cloudflared, whose edges add it. Elsewhere anybody could make it up, so all who come count as one address; trust it only where something in front of the tunnel adds it.";
        tunnel_quota_mb: Option<u64> = int(0, 1_000_000_000, "MB"), None,
            "How much may go out through the tunnel; 0 for no limit. Unless set, what is known of the provider's free plan.";
        tunnel_quota_requests: Option<u64> = int(0, 1_000_000_000_000, "requests"), None,
            "How many requests may come through the tunnel; 0 for no limit. Unless set, what is known of the provider's free plan.";
        tunnel_quota_minutes: u32 = int(1, 100_000, "minutes"), Some("30"),
            "What is left of a quota is made to last at least this long: viewers through the tunnel get smaller and fewer pictures.";
    }
    "Process" {
        worker_threads: usize = int(1, 64, "threads"), Some("1"),
            "Threads for the API and uploads. Effects and viewers have threads of their own.";
        log_level: LogLevel = Kind::Text("LEVEL", "off, error, warn, info, debug or trace, also by target: info,ooblex_mjpeg=debug"), Some("info"),
            "What is logged, to standard error.";
        log_format: LineFormat = Kind::Choice(LineFormat::WORDS), Some("text"),
            "How log lines look: text for people, json for machines.";
        announce: LineFormat = Kind::Choice(LineFormat::WORDS), Some("text"),
            "How standard output tells addresses and what becomes of them: text for people, json for machines, one object a line.";
        stop_with_stdin: bool = Kind::Bool, Some("false"),
            "Stop when standard input ends, and so with the program that holds its other end, even if that is killed.";
    }
}

impl Default for Config {
    /// Every default.
    fn default() -> Self {
        let mut reader = load::Reader::default();
        // Invariant: every default of the table reads; a test asserts it.
        Self::read(&mut reader).unwrap_or_else(|| unreachable!("a default does not read"))
    }
}

/// The setting of that name or alias.
pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|s| s.names().any(|n| n == name))
}

/// The one of `known` that `name` was probably meant to be.
pub(crate) fn nearest<S: AsRef<str>>(name: &str, known: impl IntoIterator<Item = S>) -> Option<S> {
    const ALIKE: f64 = 0.8;
    let score = |k: &S| strsim::jaro_winkler(&name.to_ascii_lowercase(), &k.as_ref().to_ascii_lowercase());
    let scored = known.into_iter().map(|k| (score(&k), k)).filter(|(s, _)| *s >= ALIKE);
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, k)| k)
}

#[cfg(test)]
mod tests;
