"use strict";
// The box of the face that was read, drawn over the picture.

// Where the picture lies in its element, which may be of a different shape.
function pictureIn(player) {
  const width = player.videoWidth || player.naturalWidth || 0, height = player.videoHeight || player.naturalHeight || 0;
  if (!width || !height) return null;
  const scale = Math.min(player.clientWidth / width, player.clientHeight / height);
  return { width: width * scale, height: height * scale, left: player.offsetLeft + (player.clientWidth - width * scale) / 2,
    top: player.offsetTop + (player.clientHeight - height * scale) / 2 };
}

// Draws the box of the time that the player shows, also while it plays; returns what draws that of a time. Where no face
// was read there is none.
function faceOver(answer, player) {
  for (const old of document.querySelectorAll("#media .face")) old.remove();
  const boxes = answer.face_boxes || [];
  if (!player || !boxes.length) return () => {};
  const node = document.createElement("div");
  node.className = "face";
  node.hidden = true;
  node.setAttribute("aria-hidden", "true"); // "face" in the timeline says the same in words
  player.parentElement.append(node);
  const still = player.tagName === "IMG";
  let shown = 0;
  const draw = (time) => {
    shown = time;
    const place = pictureIn(player);
    const box = boxes[Math.min(boxes.length - 1, Math.floor(time * answer.clip.rate_hz + 1e-6))];
    node.hidden = !box || !place;
    if (node.hidden) return;
    const [left, top, right, bottom] = box;
    Object.assign(node.style, { left: `${place.left + left * place.width}px`, top: `${place.top + top * place.height}px`,
      width: `${(right - left) * place.width}px`, height: `${(bottom - top) * place.height}px` });
  };
  const now = () => draw(still ? shown : player.currentTime);
  const follow = () => { // four events a second are too few for a face that moves
    if (!node.isConnected) return;
    now();
    if (!still && !player.paused && !player.ended) requestAnimationFrame(follow);
  };
  for (const event of ["play", "seeked", "loadedmetadata", "load"]) player.addEventListener(event, follow);
  new ResizeObserver(now).observe(player);
  now();
  return (time) => draw(still ? time : player.currentTime);
}
