// Writes the golden files of this directory with the classes of Apache Kafka 4.4.0; README.md says how to run it.
// The same records stand in ../golden.rs.

import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Collectors;

import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.LeaderChangeMessage;
import org.apache.kafka.common.message.SnapshotFooterRecord;
import org.apache.kafka.common.message.SnapshotHeaderRecord;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.DefaultRecordBatch;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.common.utils.internals.BufferSupplier;
import org.apache.kafka.common.utils.internals.ByteBufferOutputStream;
import org.apache.kafka.common.utils.internals.PrimitiveRef;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.LogValidator;
import org.apache.kafka.storage.internals.log.RecordValidationException;

public class Golden {
    static final long TIME = 1_700_000_000_000L;
    static final byte MAGIC = 2;
    static Path dir;

    public static void main(String[] args) throws Exception {
        dir = Path.of(args[0]);
        if (args.length > 1) {
            read(Path.of(args[1]));
            return;
        }
        for (CompressionType type : CompressionType.values()) {
            Compression codec = Compression.of(type).build();
            batch(type.name, codec, 0, -1, -1, (short) -1, -1, false, TimestampType.CREATE_TIME, false);
            if (type != CompressionType.NONE)
                batch(type.name + "-long", codec, 0, -1, -1, (short) -1, -1, false, TimestampType.CREATE_TIME, true);
        }
        Compression none = Compression.NONE;
        batch("append-time", none, 77, 3, -1, (short) -1, -1, false, TimestampType.LOG_APPEND_TIME, false);
        batch("idempotent", none, 0, -1, 4711, (short) 7, 2147483646, false, TimestampType.CREATE_TIME, false);
        batch("transactional", none, 123_456_789_012L, 5, 4711, (short) 8, 0, true, TimestampType.CREATE_TIME, false);
        control();
        validation();
    }

    static byte[] utf8(String text) {
        return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
    }

    static void batch(String name, Compression codec, long baseOffset, int leaderEpoch, long producerId, short epoch,
                      int sequence, boolean transactional, TimestampType type, boolean isLong) throws IOException {
        MemoryRecordsBuilder b = MemoryRecords.builder(ByteBuffer.allocate(1 << 20), MAGIC, codec, type, baseOffset,
            TIME + 1000, producerId, epoch, sequence, transactional, leaderEpoch);
        if (isLong) {
            for (int i = 0; i < 40; i++)
                b.append(TIME + i, utf8("key-" + i), utf8(("value " + i + ", ").repeat(300)));
        } else {
            b.append(TIME, utf8("key-0"), utf8("value-0"));
            b.append(TIME + 5, null, utf8("null key"));
            b.append(TIME + 3, utf8("tombstone"), null);
            b.append(TIME + 10, utf8(""), utf8(""), new Header[] {
                new RecordHeader("h1", utf8("v1")), new RecordHeader("h1", null), new RecordHeader("", utf8(""))});
            b.append(TIME + 20, utf8("k"), utf8("0123456789".repeat(300)));
        }
        write(name, b.build().buffer());
    }

    static void control() throws IOException {
        LeaderChangeMessage.Voter one = new LeaderChangeMessage.Voter().setVoterId(1);
        LeaderChangeMessage.Voter two = new LeaderChangeMessage.Voter().setVoterId(2);
        write("leader-change", MemoryRecords.withLeaderChangeMessage(12, TIME, 3, ByteBuffer.allocate(1000),
            new LeaderChangeMessage().setVersion((short) 0).setLeaderId(1).setVoters(List.of(one, two))
                .setGrantingVoters(List.of(one))).buffer());
        write("snapshot-header", MemoryRecords.withSnapshotHeaderRecord(0, TIME, 3, ByteBuffer.allocate(1000),
            new SnapshotHeaderRecord().setVersion((short) 0).setLastContainedLogTimestamp(TIME - 1)).buffer());
        write("snapshot-footer", MemoryRecords.withSnapshotFooterRecord(9, TIME, 3, ByteBuffer.allocate(1000),
            new SnapshotFooterRecord().setVersion((short) 0)).buffer());
        write("commit-marker", MemoryRecords.withEndTransactionMarker(44, TIME, 3, 4711, (short) 8,
            new EndTransactionMarker(ControlRecordType.COMMIT, 6)).buffer());
    }

    static void write(String name, ByteBuffer buffer) throws IOException {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        Files.write(dir.resolve(name + ".bin"), bytes);
    }

    /** What LogValidator says about batches, most of them broken: one line each. */
    static void validation() throws Exception {
        try (PrintWriter out = new PrintWriter(Files.newBufferedWriter(dir.resolve("validation.txt")))) {
            out.println("# name | topic's timestamp type | compacted | before max ms | after max ms | batch | outcome");
            for (CompressionType type : CompressionType.values()) {
                for (Case c : cases())
                    judge(out, type, c);
            }
        }
    }

    record Case(String name, byte[] records, int count, int lastDelta, long max, int flags, long producerId,
                int sequence, boolean isAppendTime, boolean compacted, long before, long after) {
        static Case of(String name, int count, byte[]... records) {
            ByteBuffer all = ByteBuffer.allocate(10_000);
            for (byte[] record : records)
                all.put(record);
            byte[] bytes = new byte[all.position()];
            all.flip().get(bytes);
            return new Case(name, bytes, count, count - 1, TIME, 0, -1, -1, false, false, Long.MAX_VALUE, 3_600_000);
        }
        Case lastDelta(int delta) {
            return new Case(name, records, count, delta, max, flags, producerId, sequence, isAppendTime, compacted, before, after);
        }
        Case max(long max) {
            return new Case(name, records, count, lastDelta, max, flags, producerId, sequence, isAppendTime, compacted, before, after);
        }
        Case flags(int flags) {
            return new Case(name, records, count, lastDelta, max, flags, producerId, sequence, isAppendTime, compacted, before, after);
        }
        Case producer(long id, int sequence) {
            return new Case(name, records, count, lastDelta, max, flags, id, sequence, isAppendTime, compacted, before, after);
        }
        Case appendTime() {
            return new Case(name, records, count, lastDelta, max, flags, producerId, sequence, true, compacted, before, after);
        }
        Case compact() {
            return new Case(name, records, count, lastDelta, max, flags, producerId, sequence, isAppendTime, true, before, after);
        }
        Case within(long before, long after) {
            return new Case(name, records, count, lastDelta, max, flags, producerId, sequence, isAppendTime, compacted, before, after);
        }
    }

    static byte[] bytes(int... values) {
        byte[] out = new byte[values.length];
        for (int i = 0; i < out.length; i++)
            out[i] = (byte) values[i];
        return out;
    }

    static List<Case> cases() {
        // length, attributes, timestamp delta, offset delta, key length, value length, value, headers
        byte[] zero = bytes(14, 0, 0, 0, 1, 2, 'v', 0);
        byte[] one = bytes(14, 0, 2, 2, 1, 2, 'v', 0);
        byte[] keyed = bytes(16, 0, 0, 0, 2, 'k', 2, 'v', 0);
        byte[] keyedEarlier = bytes(16, 0, 39, 2, 2, 'k', 2, 'v', 0);
        return List.of(
            Case.of("one", 1, zero),
            Case.of("two", 2, zero, one),
            Case.of("wrong-max", 2, zero, one).max(TIME + 50),
            Case.of("trailing-record", 1, zero, one),
            Case.of("trailing-byte", 1, zero, bytes(0)),
            Case.of("missing-record", 3, zero, one),
            Case.of("no-records", 1),
            Case.of("length-short", 1, bytes(12, 0, 0, 0, 1, 2, 'v', 0)),
            Case.of("length-long", 1, bytes(16, 0, 0, 0, 1, 2, 'v', 0, 0)),
            Case.of("length-negative", 1, bytes(1, 0, 0, 0, 1, 2, 'v', 0)),
            Case.of("value-beyond-record", 1, bytes(14, 0, 0, 0, 1, 100, 'v', 0)),
            Case.of("key-length-minus-two", 1, bytes(14, 0, 0, 0, 3, 2, 'v', 0)),
            Case.of("headers-negative", 1, bytes(14, 0, 0, 0, 1, 2, 'v', 1)),
            Case.of("header-missing", 1, bytes(14, 0, 0, 0, 1, 2, 'v', 2)),
            Case.of("header-empty", 1, bytes(18, 0, 0, 0, 1, 2, 'v', 2, 0, 0)),
            Case.of("header-null-key", 1, bytes(18, 0, 0, 0, 1, 2, 'v', 2, 1, 0)),
            Case.of("offset-twice", 2, zero, zero),
            Case.of("offset-from-one", 1, one),
            Case.of("count-zero", 0, zero).lastDelta(0),
            Case.of("count-negative", -1, zero).lastDelta(0),
            Case.of("delta-negative", 1, zero).lastDelta(-1),
            Case.of("delta-too-large", 1, zero).lastDelta(1),
            Case.of("control", 1, zero).flags(1 << 5),
            Case.of("transactional", 1, zero).flags(1 << 4).producer(1, 0),
            Case.of("no-sequence", 1, zero).producer(0, -1),
            Case.of("sequence", 1, zero).producer(5, 2147483647),
            Case.of("null-key", 1, zero).compact(),
            Case.of("second-null-key", 2, keyed, one).compact(),
            Case.of("key", 1, keyed).compact(),
            Case.of("in-time", 2, keyed, keyedEarlier).within(20, 0),
            Case.of("too-old", 2, keyed, keyedEarlier).within(19, 0),
            Case.of("too-old-and-null-key", 2, zero, keyedEarlier).within(19, 0).compact(),
            Case.of("too-new", 2, zero, one).within(0, 0),
            Case.of("append-time", 2, zero, keyedEarlier).within(0, 0).appendTime(),
            Case.of("claims-append-time", 1, zero).flags(1 << 3),
            Case.of("claims-append-time-too-old", 1, zero).flags(1 << 3).max(5).within(100, 100),
            Case.of("claims-append-time-minus-one", 1, zero).flags(1 << 3).max(-1),
            Case.of("claims-append-time-on-append-time", 1, zero).flags(1 << 3).appendTime());
    }

    static void judge(PrintWriter out, CompressionType codec, Case c) throws Exception {
        ByteBufferOutputStream stream = new ByteBufferOutputStream(20_000);
        stream.position(DefaultRecordBatch.RECORD_BATCH_OVERHEAD);
        try (OutputStream compressed = Compression.of(codec).build().wrapForOutput(stream, MAGIC)) {
            compressed.write(c.records());
        }
        ByteBuffer buffer = stream.buffer();
        int size = buffer.position();
        buffer.position(0).limit(size);
        TimestampType claimed = (c.flags() & 1 << 3) != 0 ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME;
        DefaultRecordBatch.writeHeader(buffer, 0, c.lastDelta(), size, MAGIC, codec, claimed, TIME, c.max(),
            c.producerId(), (short) (c.producerId() < 0 ? -1 : 0), c.sequence(), (c.flags() & 1 << 4) != 0,
            (c.flags() & 1 << 5) != 0, false, -1, c.count());
        buffer.position(0).limit(size);
        byte[] bytes = new byte[size];
        buffer.duplicate().get(bytes);

        TimestampType type = c.isAppendTime() ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME;
        Time time = (Time) Proxy.newProxyInstance(Golden.class.getClassLoader(), new Class<?>[] {Time.class},
            (self, method, args) -> method.getName().equals("milliseconds") ? TIME : 0L);
        LogValidator validator = new LogValidator(MemoryRecords.readableRecords(buffer), new TopicPartition("t", 0), time,
            codec, Compression.of(codec).build(), c.compacted(), MAGIC, type, c.before(), c.after(), 9,
            AppendOrigin.CLIENT);
        String outcome;
        try {
            PrimitiveRef.LongRef offset = PrimitiveRef.ofLong(1000);
            LogValidator.ValidationResult result = validator.validateMessagesAndAssignOffsets(offset, new Metrics(),
                BufferSupplier.NO_CACHING);
            ByteBuffer stored = result.validatedRecords().buffer();
            byte[] after = new byte[stored.remaining()];
            stored.duplicate().get(after);
            outcome = result.messageSizeMaybeChanged() ? "REWRITTEN" : HexFormat.of().formatHex(after);
        } catch (RecordValidationException e) {
            outcome = Errors.forException(e.invalidException()).name() + e.recordErrors().stream()
                .map(error -> ":" + error.batchIndex).collect(Collectors.joining());
        } catch (Throwable e) {
            outcome = Errors.forException(e).name();
        }
        out.println(String.join(" | ", codec.name + "-" + c.name(), type == TimestampType.CREATE_TIME ? "create" : "append",
            String.valueOf(c.compacted()), String.valueOf(c.before()), String.valueOf(c.after()),
            HexFormat.of().formatHex(bytes), outcome));
    }

    static class Metrics implements LogValidator.MetricsRecorder {
        public void recordInvalidMagic() { }
        public void recordInvalidOffset() { }
        public void recordInvalidSequence() { }
        public void recordInvalidChecksums() { }
        public void recordNoKeyCompactedTopic() { }
    }

    /** Reads batches that others wrote, as a consumer would, and says how many records they hold. */
    static void read(Path from) throws IOException {
        try (var files = Files.list(from)) {
            for (Path file : files.sorted().toList()) {
                var records = MemoryRecords.readableRecords(ByteBuffer.wrap(Files.readAllBytes(file)));
                int count = 0;
                long bytes = 0;
                for (var batch : records.batches()) {
                    batch.ensureValid();
                    for (var record : batch) {
                        count++;
                        bytes += record.sizeInBytes();
                    }
                }
                System.out.println(file.getFileName() + ": " + count + " records, " + bytes + " bytes");
            }
        }
    }
}
