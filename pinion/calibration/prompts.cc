#include "pinion/calibration/prompts.h"

namespace pinion::calibration {

const std::vector<std::string>& built_in_prompts() {
  static const std::vector<std::string> prompts{
      "a red fox asleep in fresh snow, early morning light",
      "portrait of an old fisherman with a grey beard, studio photograph, dark background",
      "a glass of orange juice on a wooden table, window light, shallow depth of field",
      "aerial view of a river delta at sunset, long shadows",
      "a crowded night market in the rain, neon signs reflected in puddles",
      "watercolour of a lighthouse on a cliff, loose brush strokes",
      "a steam locomotive crossing a stone viaduct, autumn forest, mist",
      "macro photograph of a bee on a lavender flower",
      "isometric drawing of a small bakery, pastel colours, clean lines",
      "a woman in a yellow raincoat walking a black dog along an empty beach",
      "an astronaut floating above the Earth, sunlight on the visor",
      "a stack of old books beside a burning candle, oil painting",
      "a modern kitchen with white cabinets and a marble counter, wide angle",
      "charcoal sketch of a horse running, on rough paper",
      "a bowl of ramen with egg and spring onions, seen from above",
      "a ruined temple overgrown with roots in a jungle, shafts of light",
      "a poster that says OPEN TODAY in bold red letters on cream paper",
      "two children building a sand castle, backlit by a low sun",
      "a blue vintage car parked in front of a pink house",
      "a snow-covered mountain range under the milky way",
      "a close-up of a human hand holding a small green seedling",
      "pixel art of a knight facing a dragon in a cave",
      "a jazz trio on a small stage, smoke and spotlights, black and white",
      "a flat vector logo of a paper plane inside a circle, orange on white",
      "an octopus in clear shallow water over white sand",
      "a library reading room with green lamps and tall windows",
      "a robot watering plants on a balcony, soft evening light",
      "a plate of colourful macarons in a row, minimal background",
      "a hot-air balloon festival over a desert, dozens of balloons",
      "medieval map of an island with mountains, forests and sea monsters",
      "a cat looking out of a rainy window, bokeh of city lights",
      "abstract shapes of folded paper in blue, teal and gold, studio light",
      "a market stall full of ripe tomatoes, peppers and aubergines",
      "a dancer in mid-leap, long exposure, white dust on black",
      "an old wooden boat on a calm lake with a perfect reflection",
      "a busy street crossing seen from above, people with umbrellas",
      "a bronze statue in a park covered in pigeons, overcast day",
      "a fantasy castle on a floating rock, waterfalls falling into clouds",
      "a bicycle leaning on a brick wall beside a blue door",
      "a chalkboard with the words DAILY SPECIAL and a drawing of a fish"};
  return prompts;
}

}  // namespace pinion::calibration
