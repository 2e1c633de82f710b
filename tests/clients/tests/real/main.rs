//! All tests with real clients, in one program since each program links librdkafka anew.

mod matrix;
