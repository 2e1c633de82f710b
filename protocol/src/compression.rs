//! The codecs of a record batch: gzip, snappy, lz4 and zstd, one function each way.
//!
//! What a newcomer would get wrong: Kafka's snappy is not a snappy frame but Xerial's own framing, while
//! some clients write one raw block, and both are read; lz4 is the frame format with independent blocks
//! (Kafka's Java reader refuses linked ones, so they must not enter a log); and the length that a stream
//! claims for itself is never believed: output is produced in steps and stops at the caller's bound.
//!
//! Cost: every stream builds its decoder anew (zstd about 150 KiB plus the window that the frame asks for, at
//! most 128 MiB of address space, touched only as far as output reaches; gzip 45 KiB; lz4 up to 8 MiB where the
//! frame asks for 4 MiB blocks).

use std::io::{self, Read, Write};

use flate2::bufread::MultiGzDecoder;

/// The codec of a batch: the lowest three bits of its attributes (CompressionType in Kafka).
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Records as they are.
    #[default]
    None = 0,
    /// RFC 1952, one or more members.
    Gzip = 1,
    /// Snappy blocks in Xerial's framing, or one raw block.
    Snappy = 2,
    /// The lz4 frame format, independent blocks.
    Lz4 = 3,
    /// Zstandard frames.
    Zstd = 4,
}

impl Codec {
    /// All codecs, by id.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The codec of this id; `None` for those that Kafka does not define (5 and above).
    pub fn from_id(id: u8) -> Option<Codec> {
        Codec::ALL.get(usize::from(id)).copied()
    }

    /// The id, as in the attributes of a batch.
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The name that `compression.type` gives it.
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// The codec of this name, if Kafka knows it.
    pub fn from_name(name: &str) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

/// Why bytes could not be compressed or decompressed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The stream is not what the codec writes, or it ends too early.
    Malformed,
    /// The stream holds more than the caller allows.
    TooLarge,
    /// The codec itself failed, which means that memory is short or the level is one it does not know.
    Codec,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Error::Malformed => "compressed data is malformed",
            Error::TooLarge => "compressed data holds more than is allowed",
            Error::Codec => "the codec failed",
        })
    }
}

impl std::error::Error for Error {}

/// Bytes of raw snappy that go into one block of Xerial's framing, as Kafka's Java client has it.
const SNAPPY_BLOCK_BYTES: usize = 32 * 1024;
/// How Xerial's framing begins: magic, version 1, oldest version that can read it 1.
const XERIAL_HEADER: [u8; 16] = [
    0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1,
];
/// What the length of a block reads as when another Xerial header follows instead (streams put in a row).
const XERIAL_AGAIN: u32 = 0x8253_4e41;
/// Largest exponent of a zstd window: what zstd's own level 22 asks for, and the limit of its decoders.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Appends `bytes`, compressed, to `out`.
///
/// `level` is Kafka's (`compression.gzip.level` 1 to 9, `.lz4.level` 1 to 17, `.zstd.level` -131072 to 22);
/// `None` and gzip's -1 mean Kafka's default, and a level outside its range is brought to the nearest inside.
/// Snappy and no codec have none. Streams carry the same framing as those of Kafka's Java client.
///
/// # Errors
/// [`Error::Codec`]; what was appended to `out` so far is then taken away again.
pub fn compress(codec: Codec, bytes: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> Result<(), Error> {
    let before = out.len();
    let done = match codec {
        Codec::None => out.write_all(bytes),
        Codec::Gzip => compress_gzip(bytes, level, out),
        Codec::Snappy => compress_snappy(bytes, out),
        Codec::Lz4 => compress_lz4(bytes, level, out),
        Codec::Zstd => compress_zstd(bytes, level, out),
    };
    done.map_err(|_| {
        out.truncate(before);
        Error::Codec
    })
}

/// Decompresses a whole stream; the result holds at most `bytes_max` bytes.
///
/// # Errors
/// [`Error::TooLarge`] when there is more, found when the bound is passed and not by what the stream claims;
/// [`Error::Malformed`] otherwise.
pub fn decompress(codec: Codec, bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    Decompressor::new(codec, bytes, bytes_max)?
        .read_to_end(&mut out)
        .map_err(|e| error_of(&e))?;
    Ok(out)
}

/// Decompresses step by step in little memory, for readers that need to see a batch but not to keep it.
///
/// Its errors are [`io::Error`]s that hold an [`Error`]; [`error_of`] takes it out.
pub struct Decompressor<'a> {
    stream: Stream<'a>,
    /// Bytes that may still come out.
    left: usize,
}

enum Stream<'a> {
    None(&'a [u8]),
    Gzip(Box<MultiGzDecoder<&'a [u8]>>),
    Snappy(SnappyStream<'a>),
    Lz4(Option<lz4::Decoder<&'a [u8]>>),
    Zstd(zstd::Decoder<'static, &'a [u8]>),
}

impl<'a> Decompressor<'a> {
    /// Starts on `bytes`, of which at most `bytes_max` will come out.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the first bytes tell so, [`Error::Codec`] when there is no memory for a decoder.
    pub fn new(codec: Codec, bytes: &'a [u8], bytes_max: usize) -> Result<Self, Error> {
        let stream = match codec {
            Codec::None => Stream::None(bytes),
            Codec::Gzip => Stream::Gzip(Box::new(MultiGzDecoder::new(bytes))),
            Codec::Snappy => Stream::Snappy(SnappyStream::new(bytes)),
            Codec::Lz4 => {
                check_lz4_flags(bytes)?;
                Stream::Lz4(Some(lz4::Decoder::new(bytes).map_err(|_| Error::Codec)?))
            }
            Codec::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(bytes).map_err(|_| Error::Codec)?;
                decoder
                    .window_log_max(ZSTD_WINDOW_LOG_MAX)
                    .map_err(|_| Error::Codec)?;
                Stream::Zstd(decoder)
            }
        };
        Ok(Self {
            stream,
            left: bytes_max,
        })
    }

    /// How many of the bytes that may come out are not decompressed yet. A snappy block counts as a whole from when
    /// it is begun.
    pub fn left(&self) -> usize {
        let ready = match &self.stream {
            Stream::Snappy(stream) => stream.block.len().saturating_sub(stream.given),
            Stream::None(_) | Stream::Gzip(_) | Stream::Lz4(_) | Stream::Zstd(_) => 0,
        };
        self.left.saturating_sub(ready)
    }
}

impl Read for Decompressor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            // Only a byte more than allowed tells a stream that is too large from one that just fits.
            let mut one = [0];
            return match self.stream.read(&mut one, 1) {
                Ok(0) => Ok(0),
                Ok(_) => Err(io::Error::other(Error::TooLarge)),
                Err(e) => Err(io::Error::other(error_of(&e))),
            };
        }
        let upto = buffer.len().min(self.left);
        let (buffer, _) = buffer.split_at_mut(upto);
        let count = self
            .stream
            .read(buffer, self.left)
            .map_err(|e| io::Error::other(error_of(&e)))?;
        self.left = self.left.saturating_sub(count);
        Ok(count)
    }
}

impl Stream<'_> {
    /// Like [`Read::read`]; no more than `left` bytes may be made room for.
    fn read(&mut self, buffer: &mut [u8], left: usize) -> io::Result<usize> {
        match self {
            Stream::None(bytes) => bytes.read(buffer),
            Stream::Gzip(decoder) => decoder.read(buffer),
            Stream::Snappy(stream) => stream.read(buffer, left),
            Stream::Lz4(decoder) => read_lz4(decoder, buffer),
            Stream::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

/// The [`Error`] inside an error of a [`Decompressor`]; any other means a malformed stream, since nothing
/// but the codec can fail when reading from memory.
pub fn error_of(error: &io::Error) -> Error {
    error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>())
        .copied()
        .unwrap_or(Error::Malformed)
}

fn compress_gzip(bytes: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> io::Result<()> {
    let level = match level {
        None | Some(-1) => flate2::Compression::default(),
        Some(level) => flate2::Compression::new(level.clamp(1, 9) as u32),
    };
    let mut encoder = flate2::write::GzEncoder::new(out, level);
    encoder.write_all(bytes)?;
    encoder.finish().map(drop)
}

fn compress_snappy(bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(&XERIAL_HEADER);
    let mut encoder = snap::raw::Encoder::new();
    for block in bytes.chunks(SNAPPY_BLOCK_BYTES) {
        let compressed = encoder.compress_vec(block).map_err(io::Error::other)?;
        // A block of 32 KiB compresses to less than 40 KiB.
        out.extend_from_slice(&(compressed.len() as u32).to_be_bytes());
        out.extend_from_slice(&compressed);
    }
    Ok(())
}

fn compress_lz4(bytes: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = lz4::EncoderBuilder::new()
        .level(level.unwrap_or(9).clamp(1, 17) as u32)
        .block_size(lz4::BlockSize::Max64KB)
        .block_mode(lz4::BlockMode::Independent)
        .block_checksum(lz4::liblz4::BlockChecksum::NoBlockChecksum)
        .checksum(lz4::ContentChecksum::NoChecksum)
        .build(out)?;
    encoder.write_all(bytes)?;
    encoder.finish().1
}

fn compress_zstd(bytes: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(out, level.unwrap_or(3).clamp(-131_072, 22))?;
    encoder.write_all(bytes)?;
    encoder.finish().map(drop)
}

/// Magic, then the flag byte: version 1 and independent blocks, as Kafka's Java client demands.
fn check_lz4_flags(bytes: &[u8]) -> Result<(), Error> {
    match bytes {
        [0x04, 0x22, 0x4d, 0x18, flags, ..] if flags >> 5 == 0b011 => Ok(()),
        _ => Err(Error::Malformed),
    }
}

/// What follows the end of the frame is not looked at, as in Kafka's reader.
fn read_lz4(decoder: &mut Option<lz4::Decoder<&[u8]>>, buffer: &mut [u8]) -> io::Result<usize> {
    let Some(reader) = decoder else { return Ok(0) };
    let count = reader.read(buffer)?;
    if count == 0 {
        // The decoder answers 0 at a proper end and at a premature one alike; only `finish` tells them apart.
        if let Some(decoder) = decoder.take() {
            decoder.finish().1?;
        }
    }
    Ok(count)
}

/// Reads blocks of Xerial's framing one at a time, or the one block of a raw stream.
struct SnappyStream<'a> {
    /// Framed blocks not read yet; for a raw stream, the stream.
    rest: &'a [u8],
    framed: bool,
    decoder: snap::raw::Decoder,
    block: Vec<u8>,
    /// How much of `block` has been given out.
    given: usize,
}

impl<'a> SnappyStream<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        // The two versions behind the magic are not compared: snappy-java reads whatever claims to be readable
        // by version 1, and there is no other.
        let framed = bytes.len() >= XERIAL_HEADER.len() && bytes.starts_with(&XERIAL_HEADER[..8]);
        let rest = if framed {
            bytes.get(XERIAL_HEADER.len()..).unwrap_or_default()
        } else {
            bytes
        };
        Self {
            rest,
            framed,
            decoder: snap::raw::Decoder::new(),
            block: Vec::new(),
            given: 0,
        }
    }

    fn read(&mut self, buffer: &mut [u8], left: usize) -> io::Result<usize> {
        while self.given == self.block.len() {
            let Some(next) = self.next_block()? else {
                return Ok(0);
            };
            let length = snap::raw::decompress_len(next).map_err(|_| io::Error::other(Error::Malformed))?;
            if length > left {
                return Err(io::Error::other(Error::TooLarge));
            }
            // The best that snappy does is 64 bytes of output for 3 of input, so a small stream cannot ask for much.
            if length / 22 > next.len() {
                return Err(io::Error::other(Error::Malformed));
            }
            self.block.resize(length, 0);
            self.given = 0;
            self.decoder
                .decompress(next, &mut self.block)
                .map_err(|_| io::Error::other(Error::Malformed))?;
        }
        let mut ready = self.block.get(self.given..).unwrap_or_default();
        let count = ready.read(buffer)?;
        self.given += count;
        Ok(count)
    }

    fn next_block(&mut self) -> io::Result<Option<&'a [u8]>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        if !self.framed {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        loop {
            if self.rest.is_empty() {
                return Ok(None);
            }
            let (length, rest) = self
                .rest
                .split_first_chunk::<4>()
                .ok_or(Error::Malformed)
                .map_err(io::Error::other)?;
            let length = u32::from_be_bytes(*length);
            if length == XERIAL_AGAIN {
                self.rest = self
                    .rest
                    .get(XERIAL_HEADER.len()..)
                    .ok_or_else(|| io::Error::other(Error::Malformed))?;
                continue;
            }
            let (block, rest) = rest
                .split_at_checked(length as usize)
                .ok_or_else(|| io::Error::other(Error::Malformed))?;
            self.rest = rest;
            return Ok(Some(block));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, RngExt, SeedableRng};

    fn samples() -> Vec<Vec<u8>> {
        let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(7);
        let mut noise = vec![0; 200_000];
        random.fill_bytes(&mut noise);
        let words: Vec<u8> = (0..30_000)
            .flat_map(|i: u32| format!("{} ", i * i % 997).into_bytes())
            .collect();
        vec![
            vec![],
            vec![42],
            vec![0; 1_000_000],
            b"klamm".to_vec(),
            noise,
            words,
        ]
    }

    fn compressed(codec: Codec, bytes: &[u8], level: Option<i32>) -> Vec<u8> {
        let mut out = b"before".to_vec();
        compress(codec, bytes, level, &mut out).expect("compresses");
        assert!(out.starts_with(b"before"));
        out.split_off(6)
    }

    #[test]
    fn what_goes_in_comes_out() {
        for codec in Codec::ALL {
            for sample in samples() {
                for level in [None, Some(-1), Some(1), Some(9), Some(100)] {
                    if level == Some(100) && sample.len() > 10 {
                        continue; // zstd's highest level is slow
                    }
                    let bytes = compressed(codec, &sample, level);
                    assert_eq!(
                        decompress(codec, &bytes, sample.len()),
                        Ok(sample.clone()),
                        "{codec:?} {level:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn output_is_bounded() {
        for codec in Codec::ALL {
            for sample in samples().into_iter().filter(|s| !s.is_empty()) {
                let bytes = compressed(codec, &sample, None);
                for bound in [0, 1, sample.len() / 2, sample.len() - 1] {
                    let expected = if bound < sample.len() {
                        Err(Error::TooLarge)
                    } else {
                        Ok(sample.clone())
                    };
                    assert_eq!(decompress(codec, &bytes, bound), expected, "{codec:?} {bound}");
                }
            }
        }
    }

    #[test]
    fn cut_streams_are_refused_and_never_panic() {
        let sample = &samples()[5];
        for codec in Codec::ALL.into_iter().skip(1) {
            let bytes = compressed(codec, sample, None);
            for cut in (0..bytes.len()).step_by(1.max(bytes.len() / 500)) {
                let got = decompress(codec, &bytes[..cut], sample.len());
                // A stream that ends between two blocks of Xerial's framing is a whole, shorter one, and so is
                // no byte at all for the codecs that may stand in a row.
                if let Ok(got) = got {
                    assert!(codec == Codec::Snappy || cut == 0, "{codec:?} cut at {cut}");
                    assert!(sample.starts_with(&got));
                }
            }
        }
    }

    #[test]
    fn damaged_streams_never_panic() {
        let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(11);
        let sample = &samples()[5][..20_000];
        for codec in Codec::ALL {
            let bytes = compressed(codec, sample, None);
            for _ in 0..300 {
                let mut bytes = bytes.clone();
                for _ in 0..random.random_range(1..4) {
                    let at = random.random_range(0..bytes.len());
                    bytes[at] = random.random();
                }
                if let Ok(out) = decompress(codec, &bytes, 40_000) {
                    assert!(out.len() <= 40_000);
                }
            }
        }
    }

    #[test]
    fn forms_that_clients_write() {
        let sample = samples()[5].clone();
        let raw = snap::raw::Encoder::new().compress_vec(&sample).unwrap();
        let framed = compressed(Codec::Snappy, &sample, None);
        let twice = [framed.as_slice(), &framed].concat();
        let doubled = [sample.as_slice(), &sample].concat();
        let check = |codec, bytes: &[u8], expected: &[u8]| {
            assert_eq!(
                decompress(codec, bytes, 1 << 20).as_deref(),
                Ok(expected),
                "{codec:?}"
            );
        };
        check(Codec::Snappy, &raw, &sample);
        check(Codec::Snappy, &framed, &sample);
        check(Codec::Snappy, &twice, &doubled);
        for codec in [Codec::Gzip, Codec::Zstd] {
            let one = compressed(codec, &sample, None);
            check(codec, &[one.as_slice(), &one].concat(), &doubled);
        }
        let lz4 = compressed(Codec::Lz4, &sample, None);
        check(Codec::Lz4, &[lz4.as_slice(), b"tail"].concat(), &sample);
    }

    #[test]
    fn forms_that_must_not_enter_a_log() {
        let check =
            |codec, bytes: &[u8]| assert_eq!(decompress(codec, bytes, 1 << 20), Err(Error::Malformed));
        let mut linked = lz4::EncoderBuilder::new()
            .block_mode(lz4::BlockMode::Linked)
            .build(Vec::new())
            .unwrap();
        linked.write_all(b"linked blocks").unwrap();
        check(Codec::Lz4, &linked.finish().0);
        check(Codec::Lz4, b"");
        // A raw snappy block that claims 4 GiB - 1, and a framed one that claims 512 MiB.
        check(Codec::Snappy, &[0xff, 0xff, 0xff, 0xff]);
        let mut huge = XERIAL_HEADER.to_vec();
        huge.extend_from_slice(&[0x20, 0, 0, 0, 1, 2, 3]);
        check(Codec::Snappy, &huge);
        check(Codec::Zstd, b"not a frame");
        check(Codec::Gzip, b"not a member");
    }

    #[test]
    fn a_short_snappy_stream_cannot_ask_for_much() {
        // Claims 1 MB, holds nothing of it.
        assert_eq!(
            decompress(Codec::Snappy, &[0xc0, 0x84, 0x3d, 0, 0], usize::MAX),
            Err(Error::Malformed)
        );
    }
}
