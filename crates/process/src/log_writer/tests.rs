use std::io::Read as _;

use super::*;

const WITHIN: Duration = Duration::from_secs(30);

fn line(number: usize) -> Vec<u8> {
    format!("line {number:05}\n").into_bytes()
}

#[test]
fn unread_output_blocks_no_writer_and_drops_are_counted() {
    let (mut reader, writer) = io::pipe().unwrap();
    let log = LogWriter::start(writer, 1000).unwrap();
    // More than the pipe and the buffer hold. A writer that blocks would end this test by its time limit.
    let written = 100_000;
    for number in 0..written {
        log.clone().write_all(&line(number)).unwrap();
    }
    assert!(log.dropped() > 0);
    let start = std::time::Instant::now();
    log.flush_within(Duration::from_millis(50));
    assert!(start.elapsed() < WITHIN, "a flush waited for an output that isn't read");

    // All lines that were not dropped arrive whole, in order, once the output is read.
    let dropped = usize::try_from(log.dropped()).unwrap();
    let mut text = vec![0; (written - dropped) * line(0).len()];
    reader.read_exact(&mut text).unwrap();
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines[0], line(0));
    assert!(lines.is_sorted());
}

#[test]
fn flush_returns_after_the_last_line() {
    let (mut reader, writer) = io::pipe().unwrap();
    let log = LogWriter::start(writer, 1000).unwrap();
    log.push(&line(1));
    log.flush_within(WITHIN);
    let mut text = vec![0; line(1).len()];
    reader.read_exact(&mut text).unwrap();
    assert_eq!(text, line(1));
}

#[test]
fn lines_to_a_closed_output_are_counted_as_dropped() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let log = LogWriter::start(writer, 1000).unwrap();
    log.push(&[line(1), line(2)].concat());
    log.flush_within(WITHIN);
    assert_eq!(log.dropped(), 2);
}
