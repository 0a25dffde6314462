/** Express 4 and 5 keep the adapter contract, and what is Express's own: trust proxy, routers, several mounts. */
import express from "express";
import express4 from "express4";
import { adapterContract } from "../contract/adapter.ts";
import { expressDriver } from "../support/express-driver.ts";

adapterContract(expressDriver("Express 5", express, true));
adapterContract(expressDriver("Express 4", express4, false));
