// JSON, promises, worker threads, child processes, crypto, zlib, streams; prints digests only.
'use strict';
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto');
const zlib = require('zlib');
const { promisify } = require('util');
const childProcess = require('child_process');
const fs = require('fs');
const path = require('path');
const { pipeline } = require('stream/promises');

const digest = (data) => crypto.createHash('sha256').update(data).digest('hex');

function build(depth, key) {
    return { key, text: 'x'.repeat(key % 50),
             children: depth ? [1, 2, 3].map((i) => build(depth - 1, key * 3 + i)) : [] };
}

function worker() {
    const map = new Map();
    for (let i = 0; i < 20000; i++) map.set(`key ${i % 5000}`, { i, data: [i, workerData] });
    const buffer = Buffer.alloc(1 << 20, workerData % 256);
    parentPort.postMessage({ size: map.size, digest: digest(buffer) });
}

function runWorker(number) {
    return new Promise((resolve, reject) => {
        const thread = new Worker(__filename, { workerData: number });
        let answer;
        thread.on('message', (message) => { answer = message; });
        thread.on('error', reject);
        thread.on('exit', (code) => resolve([number, code, answer]));
    });
}

async function main() {
    const rounds = Number(process.argv[2]);
    for (let round = 0; round < rounds; round++) {
        const text = JSON.stringify(build(6, round));
        console.log(text.length, digest(JSON.stringify(JSON.parse(text))));
        const packed = await promisify(zlib.gzip)(text);
        console.log(digest(await promisify(zlib.gunzip)(packed)));
        console.log(digest(await promisify(zlib.brotliCompress)(text.slice(0, 30000))));
    }
    const values = await Promise.all([...Array(2000).keys()].map(async (i) => {
        await null;
        return i * i;
    }));
    console.log(values.reduce((a, b) => a + b, 0));
    for (const answer of await Promise.all([1, 2, 3].map(runWorker))) console.log(answer);
    const { stdout } = await promisify(childProcess.exec)('echo from a shell; echo 2');
    console.log(stdout.trim());
    console.log(childProcess.execFileSync(process.execPath, ['-e', 'console.log(6 * 7)']).toString());
    const key = await promisify(crypto.scrypt)('password', 'salt', 32);
    const cipher = crypto.createCipheriv('aes-256-gcm', key, Buffer.alloc(12));
    console.log(digest(Buffer.concat([cipher.update(Buffer.alloc(300000, 7)), cipher.final()])));
    const pair = await promisify(crypto.generateKeyPair)('ec', { namedCurve: 'P-256' });
    const signature = crypto.sign('sha256', Buffer.from('message'), pair.privateKey);
    console.log(crypto.verify('sha256', Buffer.from('message'), pair.publicKey, signature));
    const file = path.join(process.cwd(), 'stream.bin');
    fs.writeFileSync(file, Buffer.alloc(3 << 20, 'stream'));
    await pipeline(fs.createReadStream(file), zlib.createDeflate(), zlib.createInflate(),
                   fs.createWriteStream(file + '.copy'));
    console.log(digest(fs.readFileSync(file + '.copy')));
    const native = [];
    for (let i = 0; i < 300; i++) native.push(Buffer.allocUnsafeSlow(100000).fill(i % 256));
    console.log(digest(Buffer.concat(native.slice(0, 50))));
}

if (isMainThread) main().catch((error) => { console.error(error); process.exitCode = 1; });
else worker();
