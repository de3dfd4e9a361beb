//! A client of Node's inspector, as far as it is needed to see where a process is: the list
//! of targets over HTTP, a WebSocket ([RFC 6455]) and two methods of V8's protocol.
//!
//! [RFC 6455]: https://www.rfc-editor.org/rfc/rfc6455

use std::collections::HashMap;
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
/// How often V8 is let go and stopped again while it is in Node's own announcement of the inspector.
const ANNOUNCEMENT_STOPS: usize = 10;
/// The requests. V8 answers by the same ids, which nothing here depends on.
const ENABLE: &str = r#"{"id":1,"method":"Debugger.enable"}"#;
const PAUSE: &str = r#"{"id":2,"method":"Debugger.pause"}"#;
const RESUME: &str = r#"{"id":3,"method":"Debugger.resume"}"#;
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
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Script {
    script_id: String,
    url: String,
}

/// Counted from 0.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    script_id: String,
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
        // V8 leaves the URLs in the frames empty where a script is older than the debugger.
        let mut scripts = HashMap::new();
        self.0.send_text(ENABLE).await?;
        self.0.send_text(PAUSE).await?;
        let mut stack = self.paused(&mut scripts).await?;
        for _ in 0..ANNOUNCEMENT_STOPS {
            if !is_announcement(&stack) {
                break;
            }
            self.0.send_text(RESUME).await?;
            self.0.send_text(PAUSE).await?;
            stack = self.paused(&mut scripts).await?;
        }
        Ok(stack)
    }

    /// Waits until V8 has stopped. `scripts`: the URLs of those that are known by then.
    async fn paused(
        &mut self,
        scripts: &mut HashMap<String, String>,
    ) -> io::Result<Vec<StackFrame>> {
        loop {
            let text = self.0.read_text().await?;
            let message: Message<'_> = serde_json::from_slice(&text)?;
            if let Some(error) = message.error {
                return Err(invalid(format!("the inspector refuses: {error}")));
            }
            match (message.method.as_str(), message.params) {
                ("Debugger.scriptParsed", Some(params)) => {
                    let script: Script = serde_json::from_str(params.get())?;
                    scripts.insert(script.script_id, shorten(&script.url));
                }
                ("Debugger.paused", Some(params)) => {
                    let paused: Paused = serde_json::from_str(params.get())?;
                    return Ok(frames(paused, scripts));
                }
                _ => {}
            }
        }
    }
}

/// Whether V8 has stopped where Node tells its own JavaScript that the inspector is open. It does
/// so from within whatever runs, by `process.emit('internalMessage', …)` (`StartIoThread` in Node's
/// `src/inspector_agent.cc`), and that may be just when the inspector is asked to stop.
fn is_announcement(stack: &[StackFrame]) -> bool {
    let mut innermost = stack.iter().take_while(|it| it.url.starts_with("node:"));
    innermost.any(|it| it.function == "emit" && it.url == "node:events")
}

/// `scripts`: their URLs.
fn frames(paused: Paused, scripts: &HashMap<String, String>) -> Vec<StackFrame> {
    let frame = |frame: CallFrame| StackFrame {
        function: shorten(&frame.function_name),
        url: scripts
            .get(&frame.location.script_id)
            .cloned()
            .unwrap_or_default(),
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

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A text frame of a server, in the shortest form.
    fn text_frame(text: &str) -> Vec<u8> {
        let mut frame = vec![0x81];
        match u8::try_from(text.len()) {
            Ok(short) if short < 126 => frame.push(short),
            _ => {
                frame.push(126);
                frame.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
            }
        }
        frame.extend(text.as_bytes());
        frame
    }

    /// Reads up to an empty line, answers, and goes on with the connection.
    async fn serve(listener: &TcpListener, answer: &[u8]) -> TcpStream {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut request).await.unwrap() > 0);
        }
        stream.write_all(answer).await.unwrap();
        stream
    }

    /// What the client makes of an inspector that lists this and then sends these bytes.
    fn play(list: &str, frames: &[u8]) -> io::Result<Vec<StackFrame>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let length = list.len();
            let list = format!("HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n{list}");
            let server = async {
                drop(serve(&listener, list.as_bytes()).await);
                let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
                let mut stream = serve(&listener, &[head, frames].concat()).await;
                // Two requests have come before it ends.
                let mut requests = BytesMut::new();
                while requests.len() < 2 * 6 + 35 + 34 {
                    stream.read_buf(&mut requests).await.unwrap();
                }
                stream.shutdown().await.unwrap();
            };
            let client = async { Debugger::connect(port).await?.pause().await };
            tokio::select! {
                result = client => result,
                () = async { server.await; std::future::pending().await } => unreachable!(),
            }
        })
    }

    const LIST: &str = r#"[{"webSocketDebuggerUrl": "ws://127.0.0.1:9229/some-id"}]"#;

    #[test]
    fn frames_are_read_with_the_urls_of_their_scripts() {
        let long_name = "n".repeat(1000);
        let frame = format!(
            r#"{{"functionName": "{long_name}", "url": "",
                "location": {{"scriptId": "7", "lineNumber": 11, "columnNumber": 4}}}}"#
        );
        let script = r#"{"method": "Debugger.scriptParsed",
            "params": {"scriptId": "7", "url": "file:///a\nb.js", "more": 1}}"#;
        let all = [frame.as_str(); FRAMES + 1].join(",");
        let paused =
            format!(r#"{{"method": "Debugger.paused", "params": {{"callFrames": [{all}]}}}}"#);
        let bytes = [
            text_frame(script),
            vec![0x89, 1, b'p'],
            text_frame(r#"{"id": 1, "result": {}}"#),
            text_frame(&paused),
        ];
        let found = play(LIST, &bytes.concat()).unwrap();
        assert_eq!(found.len(), FRAMES);
        assert_eq!(found[0].function.len(), NAME_LIMIT);
        assert_eq!(found[0].url, "file:///a b.js");
        assert_eq!((found[0].line, found[0].column), (12, 5));
    }

    /// A stop in these functions of these scripts, the innermost first.
    fn stop_in(stack: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut frames = Vec::new();
        for (id, (function, url)) in stack.iter().enumerate() {
            let script = format!(
                r#"{{"method": "Debugger.scriptParsed",
                    "params": {{"scriptId": "{id}", "url": "{url}"}}}}"#
            );
            bytes.extend(text_frame(&script));
            frames.push(format!(
                r#"{{"functionName": "{function}",
                    "location": {{"scriptId": "{id}", "lineNumber": 0}}}}"#
            ));
        }
        let frames = frames.join(",");
        bytes.extend(text_frame(&format!(
            r#"{{"method": "Debugger.paused", "params": {{"callFrames": [{frames}]}}}}"#
        )));
        bytes
    }

    #[test]
    fn a_stop_in_nodes_announcement_of_the_inspector_is_not_taken_for_the_place() {
        let place = ("busy", "file:///busy.js");
        let emit = ("emit", "node:events");
        let listener = ("onMessage", "node:internal/cluster/child");
        let innermost =
            |stops: &[Vec<u8>]| play(LIST, &stops.concat()).unwrap()[0].function.clone();
        let there = stop_in(&[place]);
        let announcements = [stop_in(&[emit, place]), stop_in(&[listener, emit, place])];
        for announcement in &announcements {
            assert_eq!(innermost(&[announcement.clone(), there.clone()]), "busy");
        }
        // A listener of the application is a place, and so is an announcement that does not end.
        let own_listener = stop_in(&[place, emit, ("main", "file:///main.js")]);
        assert_eq!(innermost(&[own_listener]), "busy");
        let for_ever = vec![announcements[0].clone(); ANNOUNCEMENT_STOPS + 1];
        assert_eq!(innermost(&for_ever), "emit");
    }

    #[test]
    fn what_is_no_inspector_or_leaves_or_refuses_is_an_error() {
        let huge = [&[0x81, 127][..], &u64::MAX.to_be_bytes()].concat();
        let refusal = text_frame(r#"{"id": 2, "error": {"message": "no"}}"#);
        for (list, frames, reason) in [
            ("[]", &[][..], "names nothing to debug"),
            ("hello", &[], "expected value"),
            (LIST, &[], "end of file"),
            (LIST, &[0x88, 0], "end of file"),
            (LIST, &[0x01, 0], "an unknown frame: 0x1"),
            (LIST, &huge, "sends more than"),
            (LIST, &refusal, "the inspector refuses"),
            (LIST, &text_frame("{"), "EOF while parsing"),
        ] {
            let error = play(list, frames).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}, but not {reason}");
        }
    }
}
