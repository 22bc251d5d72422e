// A member of a group, with KafkaJS: what `member.py` says, and the same journal.
//
//   NODE_PATH=MODULES node member.js '{"bootstrap": …, "group": …, "topic": …, "instance": null, "session_ms": 3000, "heartbeat_ms": 300, "journal": FILE}'
//
// KafkaJS has no callbacks for what is assigned and revoked. What it is assigned, and in which generation, it says in its log; that it has to join
// anew is an event. Its one strategy of its own is round robin, and it has no static members.

const fs = require("fs");
const { Kafka, logLevel } = require("kafkajs");

const COMMIT_MS = 200, RETRY_MS = 200;
const settings = JSON.parse(process.argv[2]);
const journal = fs.openSync(settings.journal, "a");
let owned = [];
let pending = new Map();
let generation = -1;
// What was given up last, and was to be committed of it.
let given = { generation, owned, pending };
let isCommitting = false;
// How the newest batch may be committed.
let commit;

function write(event, what = {}) {
  const at = process.hrtime.bigint().toString();
  // One write, so that a process killed in between leaves whole lines.
  fs.writeSync(journal, `{"at": ${at}, ${JSON.stringify({ event, ...what }).slice(1)}\n`);
}

function giveUp() {
  if (owned.length) {
    write("revoked", { generation, partitions: owned });
    given = { generation, owned, pending };
    owned = [];
  }
  pending = new Map();
}

// KafkaJS says that it joins anew; when it is refused, since the coordinator is loading, it goes on with what it had. That the group still has it as it was, the
// next heartbeat shows.
function goesOn({ payload }) {
  if (!owned.length && given.owned.length && payload.groupGenerationId === given.generation) {
    owned = given.owned;
    pending = new Map([...given.pending, ...pending]);
    write("assigned", { generation, partitions: owned });
  }
}

function heard({ level, log }) {
  if (level <= logLevel.WARN) {
    console.error(JSON.stringify(log));
  }
  if (log.message === "Received assignment") {
    giveUp();
    generation = log.generationId;
    owned = [...(log.memberAssignment[settings.topic] || [])].sort((a, b) => a - b);
    write("assigned", { generation, partitions: owned });
  }
}

// One commit at a time, or an older one might come after a newer. Nor by `consumer.commitOffsets`: that tries again by itself, and if the group is
// shared anew meanwhile, it commits the old offsets in the new generation, of partitions that others have. What a batch is handed tries once.
async function commitPending() {
  if (isCommitting || !pending.size) {
    return;
  }
  isCommitting = true;
  const offsets = Object.fromEntries(pending);
  write("committing", { generation, offsets });
  try {
    const partitions = [...pending].map(([partition, offset]) => ({ partition, offset: String(offset) }));
    await commit({ topics: [{ topic: settings.topic, partitions }] });
  } catch (error) {
    write("refused", { generation, offsets, why: String(error) });
  }
  isCommitting = false;
}

function committed({ payload }) {
  const [{ partitions }] = payload.topics;
  const offsets = Object.fromEntries(partitions.map(({ partition, offset }) => [partition, Number(offset)]));
  write("committed", { generation: payload.groupGenerationId, offsets });
  for (const { partition, offset } of partitions) {
    if (pending.get(partition) === Number(offset)) {
      pending.delete(partition);
    }
  }
}

async function main() {
  const kafka = new Kafka({
    brokers: [settings.bootstrap],
    retry: { initialRetryTime: RETRY_MS, maxRetryTime: 500, retries: 100 },
    logLevel: logLevel.DEBUG,
    logCreator: () => heard,
  });
  const consumer = kafka.consumer({
    groupId: settings.group,
    sessionTimeout: settings.session_ms,
    heartbeatInterval: settings.heartbeat_ms,
    maxWaitTimeInMs: 100,
    retry: { initialRetryTime: RETRY_MS, maxRetryTime: 500, retries: 100 },
  });
  consumer.on(consumer.events.REBALANCING, giveUp);
  consumer.on(consumer.events.HEARTBEAT, goesOn);
  consumer.on(consumer.events.COMMIT_OFFSETS, committed);
  // Some of what happens when the broker is gone ends a consumer for good; a program that wants to go on begins anew.
  consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || setTimeout(run, RETRY_MS, consumer));
  await run(consumer);
  const committing = setInterval(commitPending, COMMIT_MS);
  process.stdin.on("end", async () => {
    clearInterval(committing);
    await commitPending();
    await consumer.disconnect();
    write("closed");
    process.exit(0);
  });
  process.stdin.resume();
}

async function run(consumer) {
  await consumer.connect();
  await consumer.subscribe({ topic: settings.topic, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch, resolveOffset, heartbeat, commitOffsetsIfNecessary, isRunning, isStale }) => {
      const mine = generation;
      commit = commitOffsetsIfNecessary;
      for (const message of batch.messages) {
        if (!isRunning() || isStale() || generation !== mine) {
          return;
        }
        write("read", { generation, partition: batch.partition, offset: Number(message.offset) });
        resolveOffset(message.offset);
        pending.set(batch.partition, Number(message.offset) + 1);
      }
      await heartbeat();
    },
  });
}

main();
