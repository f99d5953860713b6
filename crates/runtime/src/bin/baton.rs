//! The containers' entry point, in images that have no shell.
//!
//! ```text
//! baton PROGRAM [ARGUMENT …]       becomes PROGRAM, which stands beside it, with secrets read from files
//! baton health [URL]               exits 0 when URL answers 200; by default /readyz at LISTEN_ADDR
//! baton log-filter FILTER          changes what the program here logs, as RUST_LOG says it (ADMIN_ADDR)
//! baton forward LISTEN=TARGET …    passes connections on, until it is ended
//! ```
//!
//! A secret `NAME` is read from the file that `NAME_FILE` names, as Docker and Kubernetes mount it.
//! `BATON_FORWARD` (pairs as above, separated by spaces) starts a forwarder beside the program. It is
//! there for simulators in another container: Baton speaks plain HTTP to this machine only.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::File,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _},
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::task::TaskTracker;

/// Of files that are read into a variable: far above any key.
const MAX_SECRET_BYTES: u64 = 64 << 10;
/// A probe that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(2);
/// Connections that a forwarder holds at once.
const MAX_FORWARDED: usize = 16_384;
/// Read by the libraries under this very name.
const NOT_OURS: [&str; 1] = ["SSL_CERT_FILE"];

#[expect(clippy::print_stderr, reason = "its log is what the container prints")]
fn main() -> ExitCode {
    let mut args = env::args_os().skip(1);
    let outcome = match args.next() {
        None => Err(anyhow::anyhow!("say which program: ingress, handoff, assistant, egress or console")),
        Some(first) if first == "health" => health(args.next().as_deref()),
        Some(first) if first == "log-filter" => log_filter(args.next().as_deref()),
        Some(first) if first == "forward" => forward(args),
        Some(program) => become_program(&program, args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("baton: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn become_program(name: &OsStr, args: impl Iterator<Item = OsString>) -> Result<()> {
    ensure!(
        !name.is_empty() && !name.as_encoded_bytes().contains(&b'/'),
        "the program is a name, not a path"
    );
    let me = env::current_exe().context("find the programs")?;
    let program = me.with_file_name(name);
    let mut command = Command::new(&program);
    command.args(args).env_remove("BATON_FORWARD");
    for (variable, value) in secrets(env::vars_os(), read)? {
        command.env_remove(format!("{variable}_FILE")).env(variable, value);
    }
    if let Some(pairs) = env::var_os("BATON_FORWARD").filter(|pairs| !pairs.is_empty()) {
        let pairs = pairs.into_string().ok().context("BATON_FORWARD is not UTF-8")?;
        let mut forwarder = Command::new(me);
        forwarder.arg("forward").args(pairs.split_whitespace()).stdin(Stdio::null());
        // It ends with the container, whose first process the program is.
        drop(forwarder.spawn().context("start the forwarder")?);
    }
    Err(command.exec()).with_context(|| format!("start {}", program.display()))
}

/// Every `NAME_FILE` with what the file holds, as `NAME`.
fn secrets(
    variables: impl Iterator<Item = (OsString, OsString)>,
    read: impl Fn(&OsStr) -> Result<String>,
) -> Result<Vec<(String, String)>> {
    let variables: Vec<_> = variables.collect();
    let mut found = Vec::new();
    for (variable, path) in &variables {
        let Some(variable) = variable.to_str().filter(|variable| !NOT_OURS.contains(variable)) else {
            continue;
        };
        let Some(name) = variable.strip_suffix("_FILE").filter(|name| !name.is_empty()) else { continue };
        if path.is_empty() {
            continue;
        }
        let said = variables.iter().any(|(other, value)| other == name && !value.is_empty());
        ensure!(!said, "{name} and {variable} are both set");
        let text = read(path).with_context(|| format!("read the file that {variable} names"))?;
        found.push((name.to_owned(), text));
    }
    Ok(found)
}

fn read(path: &OsStr) -> Result<String> {
    let mut text = String::new();
    let count = File::open(path)?.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text)?;
    ensure!(count as u64 <= MAX_SECRET_BYTES, "it is larger than 64 KiB");
    let text = text.strip_suffix('\n').unwrap_or(&text);
    ensure!(!text.is_empty(), "it is empty");
    ensure!(!text.contains('\0'), "it holds a zero byte");
    Ok(text.to_owned())
}

fn health(url: Option<&OsStr>) -> Result<()> {
    let url = match url {
        Some(url) => url.to_str().context("the URL is not UTF-8")?.to_owned(),
        None => {
            let listen = env::var("LISTEN_ADDR").context("LISTEN_ADDR is not set: say a URL")?;
            format!("http://{}/readyz", reachable(listen.parse().context("read LISTEN_ADDR")?))
        }
    };
    let status = ask("GET", &url, "").with_context(|| format!("ask {url}"))?;
    ensure!(status == 200, "{url} answers {status}");
    Ok(())
}

fn log_filter(filter: Option<&OsStr>) -> Result<()> {
    let filter = filter.and_then(OsStr::to_str).context("say a filter, for example info,egress=debug")?;
    let address = env::var("ADMIN_ADDR").context("ADMIN_ADDR is not set")?;
    let url = format!("http://{}/log-filter", reachable(address.parse().context("read ADMIN_ADDR")?));
    let status = ask("PUT", &url, filter).with_context(|| format!("ask {url}"))?;
    ensure!(status == 200, "{url} answers {status}: is that a filter?");
    Ok(())
}

/// Whoever listens everywhere is asked on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip([127, 0, 0, 1].into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

/// The status that comes back, plain HTTP: a client library would be most of this program.
fn ask(method: &str, url: &str, body: &str) -> Result<u16> {
    let rest = url.strip_prefix("http://").context("it must start with http://")?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let address = host.to_socket_addrs()?.next().context("the name has no address")?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: text/plain\r\n\
         content-length: {length}\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes())?;
    let mut head = Vec::new();
    // `HTTP/1.1 200`
    stream.take(12).read_to_end(&mut head)?;
    let head = String::from_utf8_lossy(&head);
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    status.and_then(|status| status.parse().ok()).context("that is no HTTP answer")
}

fn forward(pairs: impl Iterator<Item = OsString>) -> Result<()> {
    let mut wanted = Vec::new();
    for pair in pairs {
        let pair = pair.into_string().ok().context("a pair is not UTF-8")?;
        let (listen, target) = pair.split_once('=').context("pairs look like 127.0.0.1:8090=sim:8090")?;
        let listen: SocketAddr = listen.parse().with_context(|| format!("read the address {listen}"))?;
        wanted.push((listen, target.to_owned()));
    }
    if wanted.is_empty() {
        bail!("say what to forward");
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let room = Arc::new(Semaphore::new(MAX_FORWARDED));
        let tasks = TaskTracker::new();
        for (listen, target) in wanted {
            let listener = TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
            tasks.spawn(pass_on(listener, target.into(), Arc::clone(&room), tasks.clone()));
        }
        tasks.close();
        tasks.wait().await;
        Ok(())
    })
}

async fn pass_on(listener: TcpListener, target: Arc<str>, room: Arc<Semaphore>, tasks: TaskTracker) {
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((mut from, _)) = listener.accept().await else {
            // Out of file descriptors: give the others a moment to end.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let target = Arc::clone(&target);
        tasks.spawn(async move {
            let _permit = permit;
            let _ = from.set_nodelay(true);
            let dial = tokio::time::timeout(PATIENCE, tokio::net::TcpStream::connect(&*target));
            // Nobody there: our end closes, as the other one would.
            let Ok(Ok(mut to)) = dial.await else { return };
            let _ = to.set_nodelay(true);
            let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>> {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.into(), value.into())).collect();
        secrets(pairs.into_iter(), |path| Ok(format!("<{}>", path.display())))
    }

    #[test]
    fn a_secret_comes_from_its_file_and_from_nowhere_else() {
        let found =
            of(&[("NATS_URL_FILE", "/s/nats"), ("NATS_URL", ""), ("SSL_CERT_FILE", "/c"), ("A_FILE", "")]);
        assert_eq!(found.unwrap(), [("NATS_URL".to_owned(), "</s/nats>".to_owned())]);
        let twice = of(&[("MASTER_KEY_FILE", "/s/key"), ("MASTER_KEY", "here")]).unwrap_err().to_string();
        assert!(twice.contains("both") && !twice.contains("here"), "{twice}");
    }

    #[test]
    fn a_file_is_one_line_without_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let content = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read(path.as_os_str()).map_err(|error| error.to_string())
        };
        assert_eq!(content(b"secret\n"), Ok("secret".into()));
        assert_eq!(content(b"two\nlines\n"), Ok("two\nlines".into()));
        assert!(content(b"\n").is_err() && content(b"a\0b").is_err() && content(&[b'x'; 70_000]).is_err());
    }

    #[test]
    fn what_listens_everywhere_is_asked_here() {
        for (listen, asked) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("127.0.0.2:80", "127.0.0.2:80")]
        {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }

    #[test]
    fn only_200_is_healthy() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answers = ["HTTP/1.1 200 OK\r\n\r\nfine", "HTTP/1.1 503 Away\r\n\r\n", "SSH-2.0-x\r\n"];
        let serving = std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = [0; 512];
                let count = stream.read(&mut head).unwrap();
                assert!(head[..count].starts_with(b"GET /readyz HTTP/1.1\r\n"));
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let url = format!("http://{address}/readyz");
        assert_eq!(ask("GET", &url, "").unwrap(), 200);
        assert_eq!(ask("GET", &url, "").unwrap(), 503);
        assert!(ask("GET", &url, "").is_err());
        serving.join().unwrap();
        assert!(ask("GET", &url, "").is_err(), "nobody listens any more");
    }

    #[tokio::test]
    async fn connections_are_passed_on_both_ways() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, to) = (listener.local_addr().unwrap(), target.local_addr().unwrap().to_string());
        let tasks = TaskTracker::new();
        let passing = tasks.spawn(pass_on(listener, to.into(), Arc::new(Semaphore::new(2)), tasks.clone()));
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        client.write_all(b"ask").await.unwrap();
        let (mut server, _) = target.accept().await.unwrap();
        let mut bytes = [0; 3];
        server.read_exact(&mut bytes).await.unwrap();
        server.write_all(b"yes").await.unwrap();
        client.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"yes");
        passing.abort();
    }
}
