// tree.js -- stacks as a tree, outermost frame first, in the words of d3-flame-graph (n, v, c).
import { entries, frameName } from './profile.js';

function makeNode(name, frame) {
  return { n: name, v: 0, c: [], frame, by: new Map() };
}

// Frames of the same function are one node, whatever the line: the table has the lines.
function childOf(node, name, frame) {
  let child = node.by.get(name);
  if (child === undefined) {
    child = makeNode(name, frame);
    node.by.set(name, child);
    node.c.push(child);
  }
  return child;
}

export function path(profile, stack) {
  const frames = profile.frames(stack);
  if (frames.length === 0) return [[profile.title(stack), {}]];
  return frames.map((frame) => [frameName(frame), frame]).reverse();
}

export function makeTree(profile, view, unit) {
  const root = makeNode('all', {});
  for (const [stack, value] of entries(profile, view, unit)) {
    let node = root;
    node.v += value;
    for (const [name, frame] of path(profile, stack)) {
      node = childOf(node, name, frame);
      node.v += value;
    }
  }
  return root;
}

// The nodes of a stack, from the root; shorter than the stack where the tree does not have it.
export function nodesOf(root, profile, stack) {
  const found = [root];
  for (const [name] of path(profile, stack)) {
    const next = found.at(-1).by.get(name);
    if (next === undefined) return [];
    found.push(next);
  }
  return found;
}
