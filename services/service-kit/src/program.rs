//! A service as a program: arguments in, exit code out.

use std::error::Error;
use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use tokio::runtime::Runtime;

use crate::arguments::{self, Arguments, CommandOption};
use crate::config::{Problem, Settings};
use crate::connections::Connections;
use crate::health::Check;
use crate::lifecycle::Lifecycle;
use crate::telemetry::{LogFormat, LogLevel, start_logs};
use crate::trace::Traces;
use crate::upstream::Upstream;
use crate::{serve, variables};

/// Any error, as the log shows it: its own words and those of its sources.
pub type BoxError = Box<dyn Error + Send + Sync>;
/// A future on the heap.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

const USAGE: u8 = 2;

/// Which ports a service opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// Its own HTTP port, and the metrics port.
    Http,
    /// The metrics port only, and what its tasks open.
    Metrics,
}

/// Work that runs beside the HTTP ports until the [`Lifecycle`] says stop.
pub struct Task {
    pub(crate) name: &'static str,
    pub(crate) work: BoxFuture<Result<(), BoxError>>,
}

impl Task {
    /// Names a piece of work; if it ends or fails before the service does, the service stops too.
    pub fn new(name: &'static str, work: impl Future<Output = Result<(), BoxError>> + Send + 'static) -> Self {
        Self { name, work: Box::pin(work) }
    }
}

/// What a service consists of once it has started.
#[derive(Default)]
pub struct App {
    /// Its own routes, for the HTTP port.
    pub routes: Router,
    /// What it can't work without.
    pub checks: Vec<Check>,
    /// Its further work.
    pub tasks: Vec<Task>,
    /// What clients of the HTTP port may do with connections; without it as many as come, as slow as they are.
    pub connections: Option<Connections>,
}

/// What every service is configured with.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) surface: Surface,
    pub(crate) http: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) grace: Duration,
    pub(crate) lame_duck: Duration,
    collector: Option<Upstream>,
}

type CommandRun<C> = Box<dyn FnOnce(C, Arguments) -> BoxFuture<Result<ExitCode, BoxError>>>;

struct Command<C> {
    flag: &'static str,
    about: &'static str,
    options: &'static [CommandOption],
    run: CommandRun<C>,
}

/// A service, described.
pub struct Program<C> {
    name: &'static str,
    version: &'static str,
    about: &'static str,
    surface: Surface,
    read: fn(&mut Settings) -> C,
    commands: Vec<Command<C>>,
}

enum Request {
    Help,
    Version,
    ConfigDocs,
    Serve,
    Command(usize, Arguments),
}

impl<C: Send + 'static> Program<C> {
    /// Describes a service that reads its configuration with `read`.
    pub fn new(name: &'static str, version: &'static str, about: &'static str, read: fn(&mut Settings) -> C) -> Self {
        Self { name, version, about, surface: Surface::Http, read, commands: Vec::new() }
    }

    /// Sets which ports it opens; [`Surface::Http`] if not called.
    #[must_use]
    pub fn surface(self, surface: Surface) -> Self {
        Self { surface, ..self }
    }

    /// Adds a flag that does one thing and ends: exit code 0 if it succeeded, 1 if not.
    #[must_use]
    pub fn command<F>(self, flag: &'static str, about: &'static str, run: impl FnOnce(C) -> F + 'static) -> Self
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.command_with(flag, about, &[], |config, _| {
            let work = run(config);
            async move { work.await.map(|()| ExitCode::SUCCESS) }
        })
    }

    /// Adds a word that does one thing with its options and ends with an exit code of its own; 1 if it failed.
    #[must_use]
    pub fn command_with<F>(
        mut self,
        word: &'static str,
        about: &'static str,
        options: &'static [CommandOption],
        run: impl FnOnce(C, Arguments) -> F + 'static,
    ) -> Self
    where
        F: Future<Output = Result<ExitCode, BoxError>> + Send + 'static,
    {
        let run: CommandRun<C> = Box::new(|config, arguments| Box::pin(run(config, arguments)));
        self.commands.push(Command { flag: word, about, options, run });
        self
    }

    /// Runs the service as the process's arguments and environment say, until a signal ends it.
    ///
    /// Exit codes: 0 done or drained, 1 failed or cut off by the deadline, 2 wrong arguments or configuration.
    pub fn run<F>(self, start: impl FnOnce(Lifecycle, C) -> F) -> ExitCode
    where
        F: Future<Output = Result<App, BoxError>>,
    {
        let request = match self.parse(std::env::args_os().skip(1)) {
            Ok(request) => request,
            Err(problem) => {
                let problem = format!("{}: {problem}\n\n{}", self.name, self.help());
                return show(&mut io::stderr(), &problem, ExitCode::from(USAGE));
            }
        };
        match request {
            Request::Help => show(&mut io::stdout(), &self.help(), ExitCode::SUCCESS),
            Request::Version => show(&mut io::stdout(), &format!("{} {}\n", self.name, self.version), ExitCode::SUCCESS),
            Request::ConfigDocs => show(&mut io::stdout(), &self.config_docs(), ExitCode::SUCCESS),
            Request::Serve => self.execute(None, start),
            Request::Command(index, arguments) => self.execute(Some((index, arguments)), start),
        }
    }

    fn parse(&self, arguments: impl Iterator<Item = OsString>) -> Result<Request, String> {
        let arguments: Vec<String> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
        let (request, rest) = match arguments.first().map(String::as_str) {
            None => (Request::Serve, arguments.as_slice()),
            Some("-h" | "--help") => return Ok(Request::Help),
            Some("-V" | "--version") => return Ok(Request::Version),
            Some("--print-config-docs") => (Request::ConfigDocs, &arguments[1..]),
            Some(flag) => {
                let index = self.commands.iter().position(|command| command.flag == flag);
                let index = index.ok_or_else(|| format!("unknown argument {flag:?}"))?;
                return Ok(Request::Command(index, arguments::read(self.commands[index].options, &arguments[1..])?));
            }
        };
        rest.first().map_or(Ok(request), |extra| Err(format!("unknown argument {extra:?}")))
    }

    fn execute<F>(mut self, command: Option<(usize, Arguments)>, start: impl FnOnce(Lifecycle, C) -> F) -> ExitCode
    where
        F: Future<Output = Result<App, BoxError>>,
    {
        let mut settings = Settings::new(std::env::vars_os());
        let (level, format) = (settings.required(&variables::LOG_LEVEL), settings.required(&variables::LOG_FORMAT));
        let common = read_common(&mut settings, self.surface);
        let config = (self.read)(&mut settings);
        // Refused only if another part of the process was first, which is as good.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let (runtime, traces) = match start_telemetry(self.name, self.version, &common, (level, format)) {
            Ok(started) => started,
            Err(code) => return code,
        };
        if !settings.problems().is_empty() {
            return refuse(settings.problems());
        }
        for row in settings.rows() {
            tracing::debug!(variable = row.name, value = row.effective(), "configuration");
        }
        let result = match command {
            Some((index, arguments)) => runtime.block_on(async {
                let result = serve::until_signal((self.commands.swap_remove(index).run)(config, arguments)).await;
                traces.finish(common.grace).await;
                result
            }),
            None => {
                let served = serve::serve(self.name, self.version, &common, traces, |lifecycle| start(lifecycle, config));
                runtime.block_on(served).map(|()| ExitCode::SUCCESS)
            }
        };
        // What still runs was given its time.
        runtime.shutdown_background();
        match result {
            Ok(code) => code,
            Err(error) => fail("failed", error.as_ref()),
        }
    }

    fn help(&self) -> String {
        let line = |flag: &str, about: &str| format!("  {flag:<22} {about}\n");
        let command = |command: &Command<C>| {
            let option = |option: &CommandOption| match option.default {
                Some(default) => line(&format!("  {} {}", option.name, option.value), &format!("{default} if not given")),
                None => line(&format!("  {} {}", option.name, option.value), "must be given"),
            };
            line(command.flag, command.about) + &command.options.iter().map(option).collect::<String>()
        };
        let commands: String = self.commands.iter().map(command).collect();
        format!(
            "{}: {}\n\nUsage: {} [FLAG]\n\nWithout a flag it serves until SIGTERM.\n\nFlags:\n{commands}{}{}{}\nConfiguration comes from the \
             environment:\n{}\nExit codes: 0 done or drained, 1 failed or cut off, 2 wrong arguments or configuration.\n",
            self.name,
            self.about,
            self.name,
            line("--print-config-docs", "print the configuration table in Markdown"),
            line("-h, --help", "print this help"),
            line("-V, --version", "print the version"),
            self.described().rows().iter().map(|row| format!("  {}\n", row.name)).collect::<String>(),
        )
    }

    fn config_docs(&self) -> String {
        let rows: String = self.described().rows().iter().map(|row| format!("{}\n", row.markdown())).collect();
        format!("| variable | expected | default | meaning |\n|---|---|---|---|\n{rows}")
    }

    /// Reads the configuration from an empty environment, for the sake of its description.
    fn described(&self) -> Settings {
        let mut settings = Settings::default();
        settings.required(&variables::LOG_LEVEL);
        settings.required(&variables::LOG_FORMAT);
        read_common(&mut settings, self.surface);
        (self.read)(&mut settings);
        settings
    }
}

/// Starts the runtime, whose threads carry the spans, then the spans, then the log, whose lines name them.
fn start_telemetry(
    name: &'static str,
    version: &'static str,
    common: &Common,
    (level, format): (LogLevel, LogFormat),
) -> Result<(Runtime, Traces), ExitCode> {
    let failed = |what, error: &dyn Error| {
        start_logs(level, format, None);
        fail(what, error)
    };
    let runtime = Runtime::new().map_err(|error| failed("failed to start the runtime", &error))?;
    let entered = runtime.enter();
    let traces = Traces::start(name, version, common.collector.as_ref());
    drop(entered);
    let traces = traces.map_err(|error| failed("failed to prepare traces (OTEL_EXPORTER_OTLP_ENDPOINT)", &error))?;
    start_logs(level, format, Some(traces.tracer()));
    Ok((runtime, traces))
}

fn read_common(settings: &mut Settings, surface: Surface) -> Common {
    let address = settings.required(&variables::BIND_ADDRESS).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let http_port = if surface == Surface::Http { settings.required(&variables::HTTP_PORT) } else { 0 };
    let collector = settings.optional(&variables::OTLP_ENDPOINT);
    settings.optional(&variables::POD_NAME);
    Common {
        collector,
        surface,
        http: SocketAddr::new(address, http_port),
        metrics: SocketAddr::new(address, settings.required(&variables::METRICS_PORT)),
        grace: settings.required(&variables::SHUTDOWN_GRACE),
        lame_duck: settings.required(&variables::SHUTDOWN_LAME_DUCK),
    }
}

fn refuse(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        tracing::error!(variable = problem.variable, "{problem}");
    }
    tracing::error!(problems = problems.len(), "the configuration is not usable; nothing was started");
    ExitCode::from(USAGE)
}

fn fail(what: &str, error: &dyn Error) -> ExitCode {
    tracing::error!(error = words(error), "{what}");
    ExitCode::FAILURE
}

/// Returns an error's words and those of its sources.
pub fn words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words = format!("{words}: {error}");
        source = error.source();
    }
    words
}

/// Writes a text; a closed pipe is the reader's wish, not a failure.
fn show(stream: &mut impl Write, text: &str, code: ExitCode) -> ExitCode {
    match stream.write_all(text.as_bytes()) {
        Ok(()) => code,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => code,
        Err(_) => ExitCode::FAILURE,
    }
}
