// SPDX-License-Identifier: ISC
// One end of many WebSockets, by the package ws: what it is told comes as JSON lines on its standard input, what it sees leaves as JSON
// lines on its standard output. tests/lib/ws_ends.py is the other side of both.
//
//   node ws_end.js ADDRESS PORT TEXT_POOL BINARY_POOL      listens there; the pools hold what frames are cut from
//
// In:  {id, steps, expect, close, deflate, dial}   the plan of one stream. dial: {host, port, tunnel, target, authority}; without it
//                                                  the stream is the one that asks this server for ".../ID"
// Out: {id, open: extensions} {id, op, n, h} ... {id, closed: [code, reason]} {id, error}
const crypto = require("crypto"), fs = require("fs"), http = require("http"), net = require("net"), readline = require("readline");
const WebSocket = require("ws");

const [address, port, text, binary] = process.argv.slice(2);
const pools = { 1: fs.readFileSync(text), 2: fs.readFileSync(binary) };
const plans = new Map();

function say(id, fact) {
    process.stdout.write(JSON.stringify({ id, ...fact }) + "\n");
}

// Steps: ["f", kind, start, length, fin] is a data frame, ["ping" or "pong", hex] a control frame.
function play(socket, steps) {
    for (const step of steps) {
        if (step[0] === "f") {
            const [, kind, start, length, fin] = step;
            socket.send(pools[kind].subarray(start, start + length), { binary: kind === 2, fin, compress: true });
        } else {
            socket[step[0]](Buffer.from(step[1], "hex"));
        }
    }
}

function run(socket, plan) {
    let seen = 0;
    const event = (op, data) => {
        say(plan.id, { op, n: data.length, h: crypto.createHash("md5").update(data).digest("hex") });
        seen++;
        if (plan.close && seen === plan.expect) {
            socket.close(...plan.close);
        }
    };
    const open = () => {
        say(plan.id, { open: socket.extensions });
        play(socket, plan.steps);
        if (plan.close && plan.expect === 0) {
            socket.close(...plan.close);
        }
    };
    socket.on("message", (data, isBinary) => event(isBinary ? 2 : 1, data));
    socket.on("ping", (data) => event(9, data));
    socket.on("pong", (data) => event(10, data));
    socket.on("error", (error) => say(plan.id, { error: String(error) }));
    socket.on("close", (code, reason) => say(plan.id, { closed: [code, reason.toString()] }));
    if (socket.readyState === WebSocket.OPEN) {
        open();
    } else {
        socket.on("open", open);
    }
}

function connect(plan, stream) {
    const { target, authority } = plan.dial;
    const socket = new WebSocket(`ws://${authority}${target.replace(/^http:\/\/[^/]*/, "")}`, {
        createConnection: () => stream, autoPong: false, perMessageDeflate: plan.deflate,
        finishRequest: (request) => { request.path = target; request.end(); },
    });
    run(socket, plan);
}

function dial(plan) {
    const { host, port, tunnel } = plan.dial;
    const stream = net.connect(port, host);
    stream.setNoDelay(true);
    stream.on("error", (error) => say(plan.id, { error: String(error) }));
    if (!tunnel) {
        connect(plan, stream);
        return;
    }
    let answer = "";
    stream.write(`CONNECT ${tunnel} HTTP/1.1\r\nHost: ${tunnel}\r\n\r\n`);
    stream.on("data", function head(data) {
        answer += data.toString("latin1");
        if (answer.endsWith("\r\n\r\n")) {
            stream.removeListener("data", head);
            connect(plan, stream);
        }
    });
}

const server = http.createServer();
server.on("upgrade", (request, stream, head) => {
    const plan = plans.get(request.url.split("/").pop());
    const accepting = new WebSocket.Server({ noServer: true, autoPong: false, perMessageDeflate: plan.deflate, maxPayload: 0 });
    stream.setNoDelay(true);
    accepting.handleUpgrade(request, stream, head, (socket) => run(socket, plan));
});
server.listen(Number(port), address, () => say("", { ready: true }));

readline.createInterface({ input: process.stdin }).on("line", (line) => {
    const plan = JSON.parse(line);
    plans.set(plan.id, plan);
    if (plan.dial) {
        dial(plan);
    }
}).on("close", () => process.exit(0));
