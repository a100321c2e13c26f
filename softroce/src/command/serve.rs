//! The side of `bw` and `lat` that does as it is told.

use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;

use sluice_softroce::work::{CompletionKind, Operation};

use super::ceiling;
use super::conversation::{Conversation, Line};
use super::session::{Session, cpu_time};
use super::{Result, Serve, print};

/// How long it sleeps before it looks whether the other side has finished.
const SLEEP: Duration = Duration::from_millis(20);
const RECEIVES: usize = 128;

pub(super) fn serve(options: &Serve) -> Result<ExitCode> {
    let listener = TcpListener::bind((options.address, options.port))?;
    print(&format!(
        "serving at {}; measure with `softroce bw {} --port {}`",
        listener.local_addr()?,
        options.address,
        options.port
    ))?;
    for stream in listener.incoming() {
        let mut conversation = Conversation::new(stream?)?;
        if let Err(error) = talk(&mut conversation) {
            eprintln!("softroce: {error}");
            // Whoever is still there learns why.
            let _ = conversation.say(&format!("error {error}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One measurement after the other, until the other side has gone.
fn talk(conversation: &mut Conversation) -> Result<()> {
    while let Some(line) = conversation.next()? {
        match line.verb() {
            "udp" => ceiling::drain(conversation)?,
            "udp-echo" => ceiling::echo(conversation, &line)?,
            "bandwidth" => receive(conversation, &line)?,
            "latency" => answer(conversation, &line)?,
            other => return Err(format!("not understood: {other}").into()),
        }
    }
    Ok(())
}

/// Lets the other side send, write and read.
fn receive(conversation: &mut Conversation, line: &Line) -> Result<()> {
    let session = Session::answer(conversation, line)?;
    session.post_receives(RECEIVES)?;
    let cpu = cpu_time();
    conversation.say(&format!("ok {}", session.told()))?;
    loop {
        let done = session.wait(SLEEP)?;
        session.post_receives(done.len())?;
        if done.is_empty() && conversation.has_spoken()? {
            break;
        }
    }
    conversation.hear()?;
    let packets = session.packets_sent();
    conversation.say(&format!("ok cpu={} packets={packets}", (cpu_time() - cpu).as_nanos()))
}

/// Sends a message for each that comes.
fn answer(conversation: &mut Conversation, line: &Line) -> Result<()> {
    let session = Session::answer(conversation, line)?;
    session.post_receives(RECEIVES)?;
    conversation.say(&format!("ok {}", session.told()))?;
    loop {
        let done = session.wait(SLEEP)?;
        let received = done.iter().filter(|done| done.kind == CompletionKind::Receive).count();
        session.post_sends(Operation::Send { immediate: None }, received)?;
        session.post_receives(received)?;
        if done.is_empty() && conversation.has_spoken()? {
            return conversation.hear().map(|_done| ());
        }
    }
}
