// BullMQ for the benchmark: `node bullmq.mjs enqueue N` or `node bullmq.mjs work`.
import { Queue, Worker } from "bullmq";
import IORedis from "ioredis";

const [, , command, count] = process.argv;
const connection = new IORedis(process.env.BENCH_REDIS_URL, { maxRetriesPerRequest: null });
const kept = { removeOnComplete: { count: 1000 } };

if (command === "enqueue") {
  const queue = new Queue("noop", { connection });
  for (let first = 0; first < Number(count); first += 1000) {
    const size = Math.min(1000, Number(count) - first);
    await queue.addBulk(
      Array.from({ length: size }, (_, i) => ({ name: "noop", data: { number: first + i, sent_at: 0 }, opts: kept })),
    );
  }
  await queue.close();
  connection.disconnect();
} else if (command === "latency") {
  const queue = new Queue("noop", { connection });
  for (let i = 0; i < Number(count); i++) {
    await queue.add("noop", { sent_at: Date.now() / 1000 }, kept);
    await new Promise((done) => setTimeout(done, 25));
  }
  await queue.close();
  connection.disconnect();
} else {
  const side = connection.duplicate();
  new Worker(
    "noop",
    async (job) => {
      if (job.data.sent_at) await side.rpush("latency", String(Date.now() / 1000 - job.data.sent_at));
    },
    { connection, concurrency: 8 },
  );
}
