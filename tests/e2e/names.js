// SPDX-License-Identifier: ISC
// Addresses of names that no resolver knows, for programs of node: node --require names.js, with TEST_NAMES = {name: address}.
const dns = require("dns"), lookup = dns.lookup;
const names = JSON.parse(process.env.TEST_NAMES || "{}");

dns.lookup = (name, options, done) => {
    const answer = typeof options === "function" ? options : done;
    if (!(name in names)) {
        return lookup(name, options, done);
    }
    process.nextTick(() => (options && options.all ? answer(null, [{ address: names[name], family: 4 }]) : answer(null, names[name], 4)));
};
