//! What `bw` and `lat` say to `serve` over TCP: lines of `word=value`.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;

use super::Result;

/// A TCP connection that carries lines.
pub(super) struct Conversation {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

/// A line of the other side.
pub(super) struct Line(String);

impl Conversation {
    pub(super) fn connect(host: &str, port: u16) -> Result<Conversation> {
        let mut last = None;
        for address in (host, port).to_socket_addrs()? {
            match TcpStream::connect(address) {
                Ok(stream) => return Conversation::new(stream),
                Err(error) => last = Some(error),
            }
        }
        let why = last.map_or_else(|| "it has no address".to_owned(), |error| error.to_string());
        Err(format!("nobody serves at {host} port {port}: {why}; start `softroce serve` there").into())
    }

    pub(super) fn new(stream: TcpStream) -> Result<Conversation> {
        stream.set_nodelay(true)?;
        Ok(Conversation { reader: BufReader::new(stream.try_clone()?), writer: stream })
    }

    /// This side's address, as the other one sees it.
    pub(super) fn address(&self) -> Result<IpAddr> {
        Ok(self.writer.local_addr()?.ip())
    }

    pub(super) fn say(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.writer, "{line}")?)
    }

    /// # Errors
    ///
    /// If the other side has gone, or says that something is wrong.
    pub(super) fn hear(&mut self) -> Result<Line> {
        self.next()?.ok_or_else(|| "the other side has gone".into())
    }

    /// The next line; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Line>> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end().strip_prefix("error ") {
            Some(error) => Err(format!("the other side: {error}").into()),
            None => Ok(Some(Line(line.trim_end().to_owned()))),
        }
    }

    /// Whether a line, or the end, has come. Does not wait.
    pub(super) fn has_spoken(&self) -> Result<bool> {
        if !self.reader.buffer().is_empty() {
            return Ok(true);
        }
        self.writer.set_nonblocking(true)?;
        let peeked = self.writer.peek(&mut [0]);
        self.writer.set_nonblocking(false)?;
        match peeked {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            other => Ok(other.map(|_| true)?),
        }
    }
}

impl Line {
    /// The first word: what is wanted.
    pub(super) fn verb(&self) -> &str {
        self.0.split(' ').next().unwrap_or_default()
    }

    pub(super) fn value<T: FromStr>(&self, word: &str) -> Result<T> {
        let mut values = self.0.split(' ').filter_map(|part| part.split_once('='));
        let value = values.find(|(name, _)| *name == word).and_then(|(_, value)| value.parse().ok());
        value.ok_or_else(|| format!("no sound {word} in: {}", self.0).into())
    }
}
