/** The entry of every page. */

import { setAssetBase } from "./assets";
import { boot } from "./boot";

setAssetBase(new URL("./", import.meta.url).href);
boot();
