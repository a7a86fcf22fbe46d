/** The entry of every page. */

import { setAssetBase } from "./assets";
import { boot } from "./boot";
import { guardNavigation } from "./instant";

setAssetBase(new URL("./", import.meta.url).href);
guardNavigation();
boot();
