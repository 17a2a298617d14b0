// paper.js -- what changes while the page is printed: width, colours, how many rows.
//
// The page gets the width of a sheet before anything is drawn again, for a chart's pixels do not
// follow what the printer does to the layout.
const steps = [];

// `step(printing)` is called before and after, in the order in which steps were given.
export function onPaper(step) {
  steps.push(step);
}

function printing(on) {
  document.documentElement.toggleAttribute('data-paper', on);
  steps.forEach((step) => step(on));
}

addEventListener('beforeprint', () => printing(true));
addEventListener('afterprint', () => printing(false));
