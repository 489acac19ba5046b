// What a device calls itself, made readable; and times.

const BROWSERS = [
  [/\bEdg(A|iOS)?\//, "Edge"],
  [/\b(OPR|Opera)\//, "Opera"],
  [/\bSamsungBrowser\//, "Samsung Internet"],
  [/\b(Firefox|FxiOS)\//, "Firefox"],
  [/\b(Chrome|CriOS|HeadlessChrome|Chromium)\//, "Chrome"],
  [/\bVersion\/.*\bSafari\//, "Safari"],
];

const SYSTEMS = [
  [/\biPhone\b/, "iPhone"],
  [/\biPad\b/, "iPad"],
  [/\bAndroid\b/, "Android"],
  [/\bWindows\b/, "Windows"],
  [/\bCrOS\b/, "ChromeOS"],
  [/\bMacintosh\b/, "Mac"],
  [/\bLinux\b/, "Linux"],
];

const LONGEST = 60;

/** Return what people call this device: "Firefox on Windows"; the name of the program where it is no browser. */
export function nameOf(userAgent) {
  if (!userAgent) return "Unknown device";
  const find = (table) => table.find(([pattern]) => pattern.test(userAgent))?.[1];
  const [browser, system] = [find(BROWSERS), find(SYSTEMS)];
  if (browser && system) return `${browser} on ${system}`;
  return browser ?? (userAgent.split(/[/\s]/, 1)[0].slice(0, LONGEST) || "Unknown device");
}

const STEPS = [
  ["minute", 60],
  ["hour", 3600],
  ["day", 86_400],
];
const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const day = new Intl.DateTimeFormat("en", { dateStyle: "long" });
const exact = new Intl.DateTimeFormat("en", { dateStyle: "long", timeStyle: "short" });

/** Write a day into a `<time>`. */
export function writeDay(element, text) {
  write(element, text, day.format(new Date(text)));
}

/** Write how long ago it was into a `<time>`; the server's times are exact to a minute. */
export function writeAgo(element, text) {
  const seconds = (Date.now() - new Date(text)) / 1000;
  const [unit, length] = STEPS.findLast(([, length]) => seconds >= length) ?? ["minute", 60];
  write(element, text, seconds < 120 ? "just now" : ago.format(-Math.floor(seconds / length), unit));
}

function write(element, text, shown) {
  element.dateTime = text;
  element.title = exact.format(new Date(text));
  element.textContent = shown;
}
