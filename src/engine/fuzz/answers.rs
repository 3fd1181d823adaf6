//! Fuzzes responses on a real connection: arbitrary bytes pass the real client and every check.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::{TOKENS, attempt, engine, look, state_of};
use crate::engine::Engine;
use crate::engine::attempt::run;
use crate::fetch::{HttpOptions, HttpTransport, Proxy};
use crate::fuzz::{FuzzCampaign, FuzzInput, FuzzVerdict, hold};
use crate::model::WireState;
use crate::store::DiscardStore;

/// Socket timeout of the server, so that a bug cannot hang the test. Never reached normally.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers each request with the next bytes from the channel, then closes the connection.
fn serve(listener: &TcpListener, answers: &mpsc::Receiver<Vec<u8>>, requests: &AtomicU64) {
    while let Ok(answer) = answers.recv() {
        let Ok((stream, _)) = listener.accept() else {
            return;
        };
        requests.fetch_add(1, Ordering::Relaxed);
        // An error is fine: a client that has seen enough closes first.
        let _ = reply(stream, &answer);
    }
}

fn reply(mut stream: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(SOCKET_TIMEOUT))?;
    stream.set_write_timeout(Some(SOCKET_TIMEOUT))?;
    stream.set_nodelay(true)?;
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            read => request.extend_from_slice(&buffer[..read]),
        }
    }
    stream.write_all(answer)?;
    stream.shutdown(Shutdown::Write)?;
    // Closing with unread bytes would send a reset, which may overtake the response.
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

struct AnswerBench {
    engine: Engine<HttpTransport, DiscardStore>,
    url: String,
    answers: mpsc::Sender<Vec<u8>>,
    requests: Arc<AtomicU64>,
    runtime: tokio::runtime::Runtime,
}

impl AnswerBench {
    fn look(&self, input: &FuzzInput<'_>) -> FuzzVerdict {
        let before = self.requests.load(Ordering::Relaxed);
        self.answers.send(input.bytes.to_vec()).unwrap();
        let attempt = attempt(&self.url, input.name);
        let wire = Arc::new(WireState::new(Instant::now()));
        let mut state = state_of(&attempt);
        let outcome = self
            .runtime
            .block_on(run(&self.engine, &attempt, &wire, &mut state));
        let requests = self.requests.load(Ordering::Relaxed) - before;
        hold!(requests == 1, "{requests} connections for one attempt");
        look(&attempt, state.head.as_ref(), &outcome)
    }
}

#[test]
fn answers() {
    let fuzz = FuzzCampaign {
        corpus: "answers",
        tokens: TOKENS,
        inputs: 1000,
        // Each input takes a connection, and the system manages some 10,000 per second.
        one_of: 20,
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let (answers, coming) = mpsc::channel();
    let requests = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&requests);
    std::thread::spawn(move || serve(&listener, &coming, &counted));
    let options = HttpOptions {
        proxy: Proxy::Direct,
        ..HttpOptions::default()
    };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let transport = {
        let _inside = runtime.enter();
        HttpTransport::new(options, 0, 1).unwrap()
    };
    let bench = AnswerBench {
        engine: engine(transport),
        url,
        answers,
        requests,
        runtime,
    };
    fuzz.run(move |input| bench.look(input));
}
