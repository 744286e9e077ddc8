//! HTTP/1.1 for the programs of this computer: files of a [`Site`], to whoever names the server by its own address.
//!
//! One request a connection, a fixed number of threads, and bounds on what a client may send and how long it may take.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use super::site::{Found, Site, path_of};

/// Connections that are answered at once; further ones wait.
const THREADS: usize = 32;
/// The longest head of a request, in bytes, and the most headers in it.
const LONGEST_HEAD: usize = 16 << 10;
const MOST_HEADERS: usize = 64;
/// How long a client may take to send its head, and then to take the answer.
const HEAD_TIME: Duration = Duration::from_secs(5);
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// What this computer calls itself.
const OWN_NAMES: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// Goes with every answer. The page may use its own origin and nothing else.
const HEADERS: &str = "Content-Security-Policy: default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; \
    img-src 'self' blob: data:; worker-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: no-referrer\r\n\
    Cross-Origin-Opener-Policy: same-origin\r\n\
    Cache-Control: no-cache\r\n\
    Connection: close\r\n";

/// Answers requests until the process ends.
pub fn serve(listener: &TcpListener, site: &Site) {
    let work = || {
        loop {
            match listener.accept() {
                // What goes wrong with one client is no matter of the others'.
                Ok((stream, _)) => drop(converse(&stream, site)),
                // For want of file handles, say.
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
    };
    thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(work))));
}

/// Reads one request, answers it, and waits a moment for the client to close: closing over unread bytes would take the
/// answer back.
fn converse(stream: &TcpStream, site: &Site) -> io::Result<()> {
    let answer = hear(&mut Timed::new(stream, HEAD_TIME), site)?;
    let Some(answer) = answer else { return Ok(()) };
    answer.send(&mut Timed::new(stream, ANSWER_TIME))?;
    stream.shutdown(Shutdown::Write)?;
    io::copy(&mut Timed::new(stream, Duration::from_secs(1)).take(1 << 20), &mut io::sink()).map(drop)
}

/// Reads until the head is whole; `None` if the client closes before.
fn hear(client: &mut impl Read, site: &Site) -> io::Result<Option<Answer>> {
    let mut head = [0; LONGEST_HEAD];
    let mut length = 0;
    loop {
        match client.read(&mut head[length..]) {
            Ok(0) => return Ok(None),
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if timed_out(&error) => return Ok(Some(Answer::refusal("408 Request Timeout"))),
            Err(error) => return Err(error),
        }
        if let Some(answer) = answer(&head[..length], site) {
            return Ok(Some(answer));
        }
        if length == LONGEST_HEAD {
            return Ok(Some(Answer::refusal("431 Request Header Fields Too Large")));
        }
    }
}

/// The answer to the head of a request; `None` where it is not whole yet.
fn answer(head: &[u8], site: &Site) -> Option<Answer> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return None,
        Err(httparse::Error::TooManyHeaders) => return Some(Answer::refusal("431 Request Header Fields Too Large")),
        Err(_) => return Some(Answer::refusal("400 Bad Request")),
    }
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let values = |name: &'static str| {
        request.headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value.trim_ascii())
    };
    // A request may name the server in its target too; then both names must be right.
    let (named, path) = match target.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
            let (name, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            (Some(name.as_bytes()), if path.is_empty() { "/" } else { path })
        }
        _ => (None, target),
    };
    // A page from elsewhere whose name was made to lead here must not read this one.
    let mut answer = if values("host").count() != 1 || !values("host").chain(named).all(is_own_name) {
        Answer::refusal("421 Misdirected Request")
    } else if method != "GET" && method != "HEAD" {
        Answer { headers: "Allow: GET, HEAD\r\n".into(), ..Answer::refusal("405 Method Not Allowed") }
    } else {
        match path_of(path).and_then(|path| site.find(&path)) {
            Some(found) if values("if-none-match").any(|tags| lists(tags, &found.tag)) => Answer::unchanged(&found.tag),
            Some(found) => Answer::file(found),
            None => Answer::refusal("404 Not Found"),
        }
    };
    answer.without_content |= method == "HEAD";
    Some(answer)
}

/// Whether a client that goes to `name` means this server: this computer's own names, with any port, since a tunnel
/// (`ssh -L 9090:localhost:8080`) has its own. No other site's name can be among them, wherever it leads.
fn is_own_name(name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return false };
    OWN_NAMES.iter().any(|own| {
        let Some((first, rest)) = name.split_at_checked(own.len()) else { return false };
        let port =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|n| n > 0);
        first.eq_ignore_ascii_case(own) && (rest.is_empty() || rest.strip_prefix(':').is_some_and(port))
    })
}

/// Whether `If-None-Match` names the tag.
fn lists(tags: &[u8], tag: &str) -> bool {
    tags.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).any(|one| {
        let one = one.strip_prefix(b"W/").unwrap_or(one);
        one == b"*" || one == tag.as_bytes()
    })
}

/// What goes back to a client.
struct Answer {
    status: &'static str,
    /// Those beside [`HEADERS`].
    headers: String,
    content: Box<dyn Read + Send>,
    /// `None` where the status allows no content.
    length: Option<u64>,
    /// The head alone.
    without_content: bool,
}

impl Answer {
    fn refusal(status: &'static str) -> Answer {
        let content = Box::new(status.as_bytes());
        let headers = "Content-Type: text/plain; charset=utf-8\r\n".into();
        Answer { status, headers, content, length: Some(status.len() as u64), without_content: false }
    }

    fn unchanged(tag: &str) -> Answer {
        let (status, headers) = ("304 Not Modified", format!("ETag: {tag}\r\n"));
        Answer { status, headers, content: Box::new(io::empty()), length: None, without_content: true }
    }

    fn file(found: Found) -> Answer {
        let headers = format!("Content-Type: {}\r\nETag: {}\r\n", found.kind, found.tag);
        let length = Some(found.length);
        Answer { status: "200 OK", headers, content: found.content, length, without_content: false }
    }

    fn send(self, client: &mut impl Write) -> io::Result<()> {
        let length = self.length.map(|length| format!("Content-Length: {length}\r\n")).unwrap_or_default();
        let head = format!("HTTP/1.1 {}\r\n{}{length}{HEADERS}\r\n", self.status, self.headers);
        client.write_all(head.as_bytes())?;
        if let Some(length) = self.length.filter(|_| !self.without_content) {
            // A file that grows meanwhile must not pass the length that was announced.
            let mut content = self.content.take(length);
            let mut piece = vec![0; length.min(64 << 10) as usize];
            loop {
                match content.read(&mut piece)? {
                    0 => break,
                    read => client.write_all(&piece[..read])?,
                }
            }
        }
        Ok(())
    }
}

/// A connection that fails once its time is over, however slowly the other side goes on.
struct Timed<'s> {
    stream: &'s TcpStream,
    until: Instant,
}

impl<'s> Timed<'s> {
    fn new(stream: &'s TcpStream, time: Duration) -> Timed<'s> {
        Timed { stream, until: Instant::now() + time }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        match self.until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(to)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Systems differ in what they call it.
fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_own_names_are_answered_whatever_their_port() {
        for name in [
            "127.0.0.1:8080",
            "localhost:8080",
            "LocalHost:9090",
            "LOCALHOST",
            "127.0.0.1",
            "localhost:1",
            "[::1]:8080",
            "[::1]",
            "localhost:65535",
        ] {
            assert!(is_own_name(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            "evil.example:8080",
            "localhost.evil.example",
            "localhost:8080.example",
            "127.0.0.1.nip.io:8080",
            "user@localhost:8080",
            "localhost:8080@evil.example",
            "localhost:",
            "localhost:0",
            "localhost:65536",
            "localhost:+80",
            "localhost:80:80",
            "localhost.",
            "localhost.:8080",
            "::1",
            "[::1",
            "[::1]8080",
            "[::2]:8080",
            "127.0.0.2:8080",
            "0.0.0.0:8080",
            "127.1",
            "2130706433",
            "xlocalhost",
            "localhostx",
            "localhost /",
            "l\u{f6}calhost",
        ] {
            assert!(!is_own_name(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_list_of_tags_is_read() {
        for tags in ["\"a\"", "W/\"a\"", "\"b\" , \"a\"", "*"] {
            assert!(lists(tags.as_bytes(), "\"a\""), "{tags}");
        }
        for tags in ["", "a", "\"b\"", "\"a"] {
            assert!(!lists(tags.as_bytes(), "\"a\""), "{tags}");
        }
    }
}
