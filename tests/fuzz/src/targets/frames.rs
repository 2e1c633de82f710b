//! What stands around messages on a connection: lengths, request headers, response headers.

use protocol::ApiKey;
use protocol::frame::{self, LENGTH_BYTES, RequestHeader, ResponseHeader, frame_length};
use protocol::wire::Reader;

use super::{SLACK, nothing_to_mend};
use crate::Target;
use crate::runner::Answer;

const FRAME_BYTES_MAX: usize = 1 << 20;

/// See the module.
pub const FRAMES: Target = Target {
    name: "frames",
    corpus,
    mend: nothing_to_mend,
    read,
    memory_max: |length| 4 * length + SLACK,
};

fn corpus() -> Vec<Vec<u8>> {
    let mut corpus = vec![
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00".to_vec(),
    ];
    for api_key in -1..100 {
        for (api_version, client_id) in [(0, Some("client")), (3, None), (12, Some(""))] {
            let header = RequestHeader {
                api_key,
                api_version,
                correlation_id: 7,
                client_id,
            };
            let mut out = Vec::new();
            frame::begin(&mut out);
            header.encode(&mut out);
            out.extend(b"a body");
            frame::end(&mut out, 0).expect("a small frame");
            // Two on one connection.
            corpus.push([out.clone(), out].concat());
        }
    }
    corpus
}

fn read(input: &[u8]) -> Answer {
    let mut said = Vec::new();
    let mut rest = input;
    while let Some((prefix, after)) = rest.split_first_chunk::<LENGTH_BYTES>() {
        let length = match frame_length(*prefix, FRAME_BYTES_MAX) {
            Ok(length) => length,
            Err(error) => {
                said.push(format!("{error:?}"));
                break;
            }
        };
        let Some((body, next)) = after.split_at_checked(length) else {
            break;
        };
        said.push(header(body));
        rest = next;
        if said.len() > 8 {
            break;
        }
    }
    Answer::of(said)
}

fn header(body: &[u8]) -> String {
    let mut reader = Reader::new(body, FRAME_BYTES_MAX);
    let request = RequestHeader::decode(&mut reader);
    if let Ok(request) = &request {
        assert!(reader.rest().len() <= body.len());
        let mut out = Vec::new();
        request.encode(&mut out);
        let again = RequestHeader::decode(&mut Reader::new(&out, FRAME_BYTES_MAX));
        assert_eq!(again.as_ref(), Ok(request));
        if let Ok(api) = ApiKey::try_from(request.api_key) {
            let response =
                ResponseHeader::decode(&mut Reader::new(body, FRAME_BYTES_MAX), api, request.api_version);
            let which = request.client_id.map(str::len);
            return format!("{api:?} {which:?} {:?}", response.is_ok());
        }
    }
    format!("{:?}", request.map(|request| request.client_id.is_some()))
}
