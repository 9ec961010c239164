// Where a browser comes to by each Location: its own URL parser (WHATWG) says.
// Standard input: {"base": URL, "locations": [string, ...]}, a byte a character.
// Standard output: an array of what each leads to, null where it is no URL.
const fs = require('fs');
const { base, locations } = JSON.parse(fs.readFileSync(0, 'utf8'));
const resolve = (location) => {
    try {
        const url = new URL(location, base);
        return { origin: url.origin, href: url.href, return_to: url.searchParams.getAll('return_to') };
    } catch {
        return null;
    }
};
process.stdout.write(JSON.stringify(locations.map(resolve)));
