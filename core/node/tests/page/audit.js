// What is wrong with the page as it stands, for people with weak eyes and large fingers.
//
// An expression: its value is a list of complaints. Contrast is that of WCAG 2.2 (AA): 4.5 for
// text, 3 for large text, against what is painted behind it. Targets: at least 24 pixels each way.
(() => {
  const TEXT_MIN = 4.5;
  const LARGE_MIN = 3;
  const TARGET_MIN = 24;

  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const CLEAR = [0, 0, 0, 0];

  /** Any CSS colour as red, green, blue and alpha, each up to 1. */
  const parse = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map((value) => value / 255);
  };
  const over = (top, below) => {
    const alpha = top[3] + below[3] * (1 - top[3]);
    if (alpha === 0) return CLEAR;
    const mixed = [0, 1, 2].map(
      (index) => (top[index] * top[3] + below[index] * below[3] * (1 - top[3])) / alpha,
    );
    return [...mixed, alpha];
  };
  const luminance = (color) => {
    const [red, green, blue] = color
      .slice(0, 3)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const contrast = (one, other) => {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  const behind = (element) => {
    let color = CLEAR;
    for (let at = element; at !== null && color[3] < 1; at = at.parentElement) {
      color = over(color, parse(getComputedStyle(at).backgroundColor));
    }
    return over(color, [1, 1, 1, 1]);
  };
  const seen = (element) =>
    element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) &&
    !element.closest(".unseen, :disabled, noscript");

  const problems = [];
  const pairs = new Set();
  let judged = 0;
  const judge = (element, what, color, style) => {
    const background = behind(element);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = contrast(over(parse(color), background), background);
    judged += 1;
    if (ratio < (large ? LARGE_MIN : TEXT_MIN)) {
      const painted = background.slice(0, 3).map((value) => Math.round(value * 255));
      const pair = `contrast ${ratio.toFixed(2)}: ${color} on rgb(${painted.join(", ")})`;
      if (!pairs.has(pair)) problems.push(`${pair}, of ${what}`);
      pairs.add(pair);
    }
  };

  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.textContent.trim();
    const element = texts.currentNode.parentElement;
    if (text === "" || !seen(element)) continue;
    const style = getComputedStyle(element);
    judge(element, JSON.stringify(text.slice(0, 40)), style.color, style);
  }
  for (const element of document.querySelectorAll("[placeholder]")) {
    const style = getComputedStyle(element, "::placeholder");
    if (seen(element)) judge(element, `the placeholder of #${element.id}`, style.color, style);
  }
  for (const element of document.querySelectorAll("button, input, select, textarea, a[href]")) {
    if (!seen(element)) continue;
    const { width, height } = element.getBoundingClientRect();
    if (width < TARGET_MIN || height < TARGET_MIN) {
      problems.push(`${element.id || element.textContent} is only ${width} by ${height} pixels`);
    }
    if (!(element.labels?.length || element.textContent.trim() || element.ariaLabel)) {
      problems.push(`#${element.id} has no name`);
    }
  }
  if (document.documentElement.scrollWidth > innerWidth) {
    problems.push(`the page is ${document.documentElement.scrollWidth} pixels wide, its window ${innerWidth}`);
  }
  if (judged === 0) problems.push("no text was found");
  return problems;
})();
