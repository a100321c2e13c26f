//! Prints captured packets, one a line.

use std::fs;
use std::process::ExitCode;

use sluice_softroce::capture::{Capture, Datagram, Frame};
use sluice_softroce::packet::{Headers, Packet, ROCE_PORT};

use super::{Dump, Result, print};

#[derive(Default)]
struct Summary {
    packets: u64,
    wrong: u64,
    others: u64,
    truncated: u64,
}

pub(super) fn dump(options: &Dump) -> Result<ExitCode> {
    let file = fs::read(&options.file)?;
    let mut summary = Summary::default();
    let mut first = None;
    for frame in Capture::new(&file)? {
        let Some(datagram) = Datagram::in_frame(frame.bytes).filter(is_roce) else {
            summary.truncated += u64::from(frame.truncated);
            continue;
        };
        let first = *first.get_or_insert(frame.nanos);
        let line = line(&frame, first, &datagram, &mut summary);
        if !options.quiet {
            print(&line)?;
        }
    }
    let Summary { packets, wrong, others, truncated } = summary;
    print(&format!(
        "{packets} packets, {wrong} with a wrong CRC, {others} of other services, {truncated} not captured whole"
    ))?;
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn is_roce(datagram: &Datagram<'_>) -> bool {
    // Between user-space endpoints the port is another at one side.
    datagram.envelope.destination_port == ROCE_PORT || datagram.envelope.source_port == ROCE_PORT
}

fn line(frame: &Frame<'_>, first: u64, datagram: &Datagram<'_>, summary: &mut Summary) -> String {
    let Datagram { envelope, content } = datagram;
    let at = frame.nanos.saturating_sub(first) as f64 / 1e9;
    let way = format!("{at:.6} {} > {}", envelope.ip.source(), envelope.ip.destination());
    let right = envelope.verify(content);
    summary.packets += 1;
    summary.wrong += u64::from(!right);
    let crc = if right { "" } else { " WRONG CRC" };
    match Packet::parse(content) {
        Ok(packet) => format!("{way} {}, {} bytes{crc}", describe(&packet.headers), packet.payload.len()),
        Err(error) => {
            summary.others += 1;
            format!("{way} {error}{crc}")
        }
    }
}

fn describe(headers: &Headers) -> String {
    let base = &headers.base;
    let mut text = format!("{:?} to {} psn {}", base.opcode, base.destination, base.psn);
    if base.acknowledge {
        text += " ack?";
    }
    if base.solicited {
        text += " solicited";
    }
    if let Some(rdma) = headers.rdma {
        text += &format!(" address {:#x} key {:?} length {}", rdma.address, rdma.key, rdma.length);
    }
    if let Some(acknowledge) = headers.acknowledge {
        text += &format!(" {:?} msn {}", acknowledge.syndrome, acknowledge.messages);
    }
    if let Some(immediate) = headers.immediate {
        text += &format!(" immediate {immediate:#x}");
    }
    text
}
