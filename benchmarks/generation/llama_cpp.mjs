// Serves one GGUF model to benchmarks/generation/peers.py: one JSON request per line of standard
// input, one JSON reply per line of standard output. Tokens are ids.
//
//     node llama_cpp.mjs NODE_LLAMA_CPP_MODULE MODEL CONTEXT SEQUENCES

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [library, modelPath, contextSize, numSequences] = process.argv.slice(2);
const { getLlama, LlamaCompletion, LlamaLogLevel } = await import(pathToFileURL(library));
const llama = await getLlama({
    gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: 1,
});
const before = process.memoryUsage().rss;
const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
const context = await model.createContext({
    contextSize: Number(contextSize), batchSize: Number(contextSize),
    sequences: Number(numSequences), threads: 1, performanceTracking: false,
});
const sequences = Array.from({ length: Number(numSequences) }, () => context.getSequence());

// Seconds at the start and after each step in which every sequence got a token.
async function clock({ prompts, num_new: numNew, num_cached: numCached }) {
    const used = sequences.slice(0, prompts.length);
    await Promise.all(used.map((each) => each.clearHistory()));
    if (numCached) {
        await Promise.all(used.map((each, i) =>
            each.evaluateWithoutGeneratingNewTokens(prompts[i].slice(0, numCached))));
    }
    const streams = used.map((each, i) => each.evaluate(
        prompts[i].slice(numCached), { temperature: 0, yieldEogToken: true }));
    const times = [performance.now() / 1000];
    const ids = used.map(() => []);
    for (let step = 0; step < numNew; step++) {
        const next = await Promise.all(streams.map((each) => each.next()));
        times.push(performance.now() / 1000);
        next.forEach((each, i) => ids[i].push(each.value));
    }
    await Promise.all(streams.map((each) => each.return()));
    return { times, ids };
}

// Negative log-likelihood in nats of each id but the first.
async function score(ids) {
    const [sequence] = sequences;
    await sequence.clearHistory();
    const sampling = { temperature: 1, topK: 0, topP: 1, minP: 0 };
    const options = { generateNext: { probabilities: true, options: sampling } };
    const output = await sequence.controlledEvaluate(
        ids.slice(0, -1).map((id) => [id, options]));
    return { nats: output.map((each, i) => -Math.log(each.next.probabilities.get(ids[i + 1]))) };
}

async function infill({ prefix, suffix, num_new: maxTokens }) {
    const [contextSequence] = sequences;
    await contextSequence.clearHistory();
    const completion = new LlamaCompletion({ contextSequence, autoDisposeSequence: false });
    const options = { maxTokens, temperature: 0 };
    return { text: await completion.generateInfillCompletion(prefix, suffix, options) };
}

function answer(request) {
    if (request.texts) return { ids: request.texts.map((each) => model.tokenize(each)) };
    if (request.scored) return score(request.scored);
    if (request.prefix !== undefined) return infill(request);
    const { prefix, suffix, middle } = model.tokens.infill;
    if (request.special) return { prefix, suffix, middle, eos: model.tokens.eos };
    return clock(request);
}

console.log(JSON.stringify({ num_bytes: process.memoryUsage().rss - before }));
for await (const line of createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await answer(JSON.parse(line))));
}
process.exit(0);
