//! A client of Node's inspector, as far as it is needed to see where a process is: the list
//! of targets over HTTP, a WebSocket ([RFC 6455]) and two methods of V8's protocol.
//!
//! [RFC 6455]: https://www.rfc-editor.org/rfc/rfc6455

use std::io;
use std::net::Ipv4Addr;

use bytes::{Buf, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::core::event::StackFrame;

/// The longest message that is taken. V8 tells all frames, about 1 KB each.
const MESSAGE_LIMIT: usize = 16 << 20;
/// Frames that are kept, and characters of a name.
const FRAMES: usize = 10;
const NAME_LIMIT: usize = 300;
/// Any 16 bytes in base64 will do; the answer to them guards against caches between.
const WEBSOCKET_KEY: &str = "ZWdnLWNsdXN0ZXItcnMgIQ==";

/// One connection to the inspector.
#[derive(Debug)]
struct Peer {
    stream: TcpStream,
    received: BytesMut,
}

/// The state of one conversation with V8.
#[derive(Debug)]
pub(super) struct Debugger(Peer);

#[derive(Deserialize)]
struct Target {
    #[serde(rename = "webSocketDebuggerUrl")]
    url: Option<String>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(default)]
    method: String,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Paused {
    call_frames: Vec<CallFrame>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallFrame {
    function_name: String,
    location: Location,
    #[serde(default)]
    url: String,
}

/// Counted from 0.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    line_number: u32,
    #[serde(default)]
    column_number: u32,
}

impl Debugger {
    /// Connects to the inspector that listens on this port of 127.0.0.1.
    pub(super) async fn connect(port: u16) -> io::Result<Self> {
        let path = debugger_path(port).await?;
        let mut peer = Peer::connect(port).await?;
        let upgrade = format!(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {WEBSOCKET_KEY}\r\n"
        );
        peer.get(port, &path, &upgrade).await?;
        match peer.read_head().await? {
            (101, _) => Ok(Self(peer)),
            (status, _) => Err(invalid(format!("the inspector answers with {status}"))),
        }
    }

    /// Stops JavaScript where it is. It goes on when the connection ends.
    pub(super) async fn pause(&mut self) -> io::Result<Vec<StackFrame>> {
        for request in [
            r#"{"id":1,"method":"Debugger.enable"}"#,
            r#"{"id":2,"method":"Debugger.pause"}"#,
        ] {
            self.0.send_text(request).await?;
        }
        loop {
            let text = self.0.read_text().await?;
            let message: Message<'_> = serde_json::from_slice(&text)?;
            if let Some(error) = message.error {
                return Err(invalid(format!("the inspector refuses: {error}")));
            }
            if let ("Debugger.paused", Some(params)) = (message.method.as_str(), message.params) {
                let paused: Paused = serde_json::from_str(params.get())?;
                return Ok(frames(paused));
            }
        }
    }
}

fn frames(paused: Paused) -> Vec<StackFrame> {
    let frame = |frame: CallFrame| StackFrame {
        function: shorten(&frame.function_name),
        url: shorten(&frame.url),
        line: frame.location.line_number.saturating_add(1),
        column: frame.location.column_number.saturating_add(1),
    };
    let innermost = paused.call_frames.into_iter().take(FRAMES);
    innermost.map(frame).collect()
}

/// A `data:` URL holds a whole script. And what an application names shall not end a line.
fn shorten(name: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    name.chars().take(NAME_LIMIT).map(clean).collect()
}

/// The path of the first target's WebSocket: Node has one.
async fn debugger_path(port: u16) -> io::Result<String> {
    let mut peer = Peer::connect(port).await?;
    peer.get(port, "/json/list", "").await?;
    let (status, length) = peer.read_head().await?;
    if status != 200 {
        return Err(invalid(format!("the inspector answers with {status}")));
    }
    let body = peer.take(length).await?;
    let targets: Vec<Target> = serde_json::from_slice(&body)?;
    let url = targets.into_iter().find_map(|target| target.url);
    url.as_deref()
        .and_then(|url| url.strip_prefix("ws://"))
        .and_then(|rest| rest.find('/').map(|slash| rest[slash..].to_owned()))
        .ok_or_else(|| invalid("the inspector names nothing to debug".to_owned()))
}

impl Peer {
    async fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let received = BytesMut::new();
        Ok(Self { stream, received })
    }

    async fn get(&mut self, port: u16, path: &str, headers: &str) -> io::Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}\r\n");
        self.stream.write_all(request.as_bytes()).await
    }

    async fn read_more(&mut self) -> io::Result<()> {
        if self.received.len() > MESSAGE_LIMIT {
            return Err(too_large());
        }
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn take(&mut self, bytes: usize) -> io::Result<BytesMut> {
        if bytes > MESSAGE_LIMIT {
            return Err(too_large());
        }
        while self.received.len() < bytes {
            self.read_more().await?;
        }
        Ok(self.received.split_to(bytes))
    }

    /// The status of an answer, and the length of what follows.
    async fn read_head(&mut self) -> io::Result<(u16, usize)> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut response = httparse::Response::new(&mut headers);
            let parsed = response.parse(&self.received);
            if let httparse::Status::Complete(end) =
                parsed.map_err(|error| invalid(error.to_string()))?
            {
                let status = response.code.unwrap_or_default();
                let length = content_length(response.headers);
                self.received.advance(end);
                return Ok((status, length));
            }
            self.read_more().await?;
        }
    }

    /// Sends a short text. Clients have to mask what they send; a mask of zeros is one.
    async fn send_text(&mut self, text: &str) -> io::Result<()> {
        const FINAL_TEXT: u8 = 0x81;
        const MASKED: u8 = 0x80;
        let length = u8::try_from(text.len()).ok().filter(|&it| it < 126);
        let length = length.ok_or_else(|| invalid(format!("too long to send: {text}")))?;
        let mut frame = vec![FINAL_TEXT, MASKED | length, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.stream.write_all(&frame).await
    }

    /// The next text. Node sends each in one frame.
    async fn read_text(&mut self) -> io::Result<BytesMut> {
        loop {
            let mut head = self.take(2).await?;
            let (kind, short) = (head.get_u8(), head.get_u8());
            let length = match short {
                126 => u64::from(self.take(2).await?.get_u16()),
                127 => self.take(8).await?.get_u64(),
                short => u64::from(short),
            };
            let length = usize::try_from(length).map_err(|_| too_large())?;
            let payload = self.take(length).await?;
            match kind {
                0x81 => return Ok(payload),
                // Pings and pongs: a connection that lasts so shortly need not be kept alive.
                0x89 | 0x8a => {}
                0x88 => return Err(io::ErrorKind::UnexpectedEof.into()),
                kind => return Err(invalid(format!("an unknown frame: {kind:#x}"))),
            }
        }
    }
}

fn content_length(headers: &[httparse::Header<'_>]) -> usize {
    let mut named = headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("content-length"));
    let value = named.next().map(|header| header.value);
    let text = value.and_then(|value| std::str::from_utf8(value).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn too_large() -> io::Error {
    invalid(format!(
        "the inspector sends more than {MESSAGE_LIMIT} bytes"
    ))
}
